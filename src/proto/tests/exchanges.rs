//! Whole exchanges: cut anywhere they are incomplete, split anyhow they are the same.

use super::*;

/// Valid messages of every shape whose end can be seen.
fn messages() -> Vec<(Role, Vec<u8>)> {
    let request = |input: &[u8]| (Role::Request, input.to_vec());
    let response = |method: Method, input: &[u8]| (Role::Response(method), input.to_vec());
    vec![
        request(b"GET /hello HTTP/1.1\r\nHost: h.test\r\nUser-Agent: fuzz/1.0\r\nAccept: */*\r\n\r\n"),
        request(b"\r\n\r\nGET / HTTP/1.0\r\n\r\n"),
        request(b"POST /inspect HTTP/1.1\r\nHost: h.test\r\nContent-Length: 11\r\n\r\nhello world"),
        request(
            b"POST /inspect HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n\
            5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-T: v\r\n\r\n",
        ),
        request(b"GET http://h.test/hello?a=b HTTP/1.1\r\nHost: h.test\r\nCookie: a=b; c=d\r\n\r\n"),
        request(b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
        request(b"CONNECT h.test:443 HTTP/1.1\r\nHost: h.test:443\r\n\r\n"),
        response(Method::GET, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        response(Method::GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        response(Method::HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        response(Method::GET, b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n"),
        response(
            Method::GET,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n\
            1\r\na\r\n10;q=\"\\\"\"\r\n0123456789abcdef\r\n0\r\nX-T: v\r\nX-U: w\r\n\r\n",
        ),
        response(Method::POST, b"HTTP/1.0 500 \xc3\xa9t\xe9\r\nContent-Length: 3\r\nX: \xe9\r\n\r\n\0\r\n"),
    ]
}

#[test]
fn every_message_is_read_whole() {
    for (role, input) in messages() {
        let received = read_with(&role, &Limits::default(), &input).whole();
        assert_eq!(received.used, input.len());
    }
}

#[test]
fn every_cut_of_a_message_is_incomplete() {
    for (role, input) in messages() {
        for end in 0..input.len() {
            let outcome = read_with(&role, &Limits::default(), &input[..end]);
            // Nothing, or only empty lines: no message has begun.
            let begun =
                input[..end].iter().any(|byte| !b"\r\n".contains(byte)) || input[..end].ends_with(b"\r");
            let kind = if begun { ErrorKind::Incomplete } else { ErrorKind::NoMessage };
            assert_eq!(outcome.kind(), Some(kind), "{}", input[..end].escape_ascii());
        }
    }
}

#[test]
fn content_until_the_end_of_the_connection_is_whole_wherever_it_ends() {
    let head = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n";
    let input = [&head[..], b"content\r\n0\r\n\r\n"].concat();
    for end in 0..input.len() {
        let outcome = read_response(&input[..end]);
        assert_eq!(outcome.is_whole(), end >= head.len());
        if outcome.is_whole() {
            assert_eq!(outcome.whole().content, input[head.len()..end]);
        }
    }
}

#[test]
fn every_split_of_a_message_is_the_same_message() {
    let mut random = Random(1);
    for (role, input) in messages() {
        let whole = read_with(&role, &Limits::default(), &input);
        for at in 0..input.len() {
            let (first, second) = input.split_at(at);
            assert_eq!(read_pieces(&role, &Limits::default(), [first, second]), whole);
        }
        for _ in 0..200 {
            let pieces = random.cut(&input);
            assert_eq!(read_pieces(&role, &Limits::default(), pieces), whole);
        }
    }
}

#[test]
fn what_is_made_of_changed_bytes_does_not_depend_on_how_they_come() {
    let words: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"chunked",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\xff",
        b"%00",
        b"HTTP/1.1",
        b"0\r\n\r\n",
        b"-1",
        b"99999999999999999999",
        b"Host: x\r\n",
        b"\r\n\r\n",
    ];
    let mut random = Random(2);
    let messages = messages();
    for _ in 0..20_000 {
        let (role, seed) = &messages[random.below(messages.len())];
        let input = random.change(seed, words);
        let limits = Limits::default();
        let whole = read_pieces(role, &limits, [&input[..]]);
        let pieces = random.cut(&input);
        let split = read_pieces(role, &limits, pieces);
        // Of two faults in one head either may be reported.
        match (&whole, &split) {
            (Outcome::Refused(..), Outcome::Refused(..)) => assert_eq!(whole.is_cut(), split.is_cut()),
            _ => assert_eq!(whole, split, "{}", input.escape_ascii()),
        }
    }
}

/// Whether these bytes are a head with no more than this grammar, by splitting: the fields,
/// with blanks around their values cut off.
fn oracle(head: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let text = head.strip_suffix(b"\r\n\r\n")?;
    let text: String = text.iter().map(|&byte| char::from(byte)).collect();
    if text.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        return None;
    }
    let mut lines = text.split("\r\n").skip_while(|line| line.is_empty());
    let words: Vec<_> = lines.next()?.split(' ').collect();
    let [method, target, version] = words[..] else { return None };
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let minor = version.strip_prefix("HTTP/1.")?;
    if !token(method) || minor.len() != 1 || !minor.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if !target.starts_with('/')
        || !target.chars().all(|c| c.is_ascii_graphic() && c != '#')
        || method == "CONNECT"
    {
        return None;
    }
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if !token(name) || value.chars().any(|c| (c < ' ' && c != '\t') || c == '\x7f') {
            return None;
        }
        let value: Vec<u8> = value.trim_matches([' ', '\t']).chars().map(|c| c as u8).collect();
        fields.push((name.to_owned(), value));
    }
    let hosts = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("host")).count();
    (hosts == 1 || (hosts == 0 && minor == "0")).then_some(fields)
}

#[test]
fn heads_that_the_oracle_takes_are_taken_and_no_others() {
    let seeds: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: h\r\nX-Ab: some value \r\nY:z\r\n\r\n",
        b"PUT /a?b HTTP/1.0\r\nX-Quite-Long-Name-Of-A-Field: a value of more than sixteen bytes\r\n\r\n",
        b"\r\nM-SEARCH /x HTTP/1.1\r\nA:\r\nHOST:\th\r\nB: \xe9\r\n\r\n",
    ];
    let words: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"\r\n ",
        b"Host: h\r\n",
        b"X: y\r\n",
        b"HTTP/1.1",
        b"\x7f",
    ];
    let mut random = Random(3);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..30_000 {
        let seed = random.pick(seeds);
        let mut head = random.change(seed, words);
        // One head, and all of it.
        let start = head.iter().take_while(|byte| b"\r\n".contains(byte)).count();
        let Some(end) = head[start..].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        head.truncate(start + end + 4);
        let expected = oracle(&head);
        let mut request = Request::default();
        let outcome =
            HeadScanner::new(HeadKind::Request).find_end(&head, &Limits::default()).and_then(|found| {
                let found = found.ok_or_else(|| Error::incomplete("no end"))?;
                parse_request(&head[found.start..found.end], &Limits::default(), &mut request)?;
                assert_eq!(found.end, head.len());
                Ok(listed(request.headers()))
            });
        match (expected, outcome) {
            (Some(expected), Ok(fields)) => {
                assert_eq!(fields, expected, "{}", head.escape_ascii());
                taken += 1;
            }
            (None, Err(_)) => refused += 1,
            // Hosts are judged more strictly than here, and too many empty lines are refused.
            (Some(_), Err(_)) if head.starts_with(b"\r\n\r\n") => {}
            (Some(fields), Err(_)) if fields.iter().any(|(name, value)| name.len() == 4 && value != b"h") => {
            }
            (expected, outcome) => panic!("{expected:?} {outcome:?}: {}", head.escape_ascii()),
        }
    }
    assert!(taken > 2_000 && refused > 2_000, "{taken} {refused}");
}

#[test]
fn messages_behind_each_other_stay_apart() {
    let mut input = Vec::new();
    let requests: Vec<_> = messages().into_iter().filter(|(role, _)| matches!(role, Role::Request)).collect();
    for (_, bytes) in &requests {
        input.extend_from_slice(bytes);
    }
    let mut rest = &input[..];
    for (role, bytes) in &requests {
        let received = read_pieces(role, &Limits::default(), [rest]).whole();
        assert_eq!(received.used, bytes.len());
        rest = &rest[received.used..];
    }
    assert!(rest.is_empty());
}

#[test]
fn what_is_written_is_read_again() {
    let mut request = Request::post("/a?b=c");
    request.set_content_length(0).headers_mut().append("Host", "h.test:80").unwrap();
    request.headers_mut().append("X-Value", "a \t b").unwrap();
    let mut out = Vec::new();
    write_request_head(&mut out, &request).unwrap();
    let received = read_request(&out).whole();
    assert_eq!(received.line, "POST /a?b=c HTTP/1.1");
    assert_eq!(received.fields, listed(request.headers()));

    let mut response = Response::with_status(crate::message::StatusCode::CREATED);
    response
        .set_reason("Fertig")
        .unwrap()
        .set_content_length(0)
        .headers_mut()
        .append("ETag", "\"x\"")
        .unwrap();
    let mut out = Vec::new();
    write_response_head(&mut out, &response).unwrap();
    let received = read_response(&out).whole();
    assert_eq!(received.line, "HTTP/1.1 201 Fertig");
    assert_eq!(received.fields, listed(response.headers()));
}

/// A peer that sends byte by byte must not make us look at each byte again and again.
#[test]
fn the_scanner_resumes_where_it_stopped() {
    let input = request(b"GET / HTTP/1.1", &[&[b"X: ", &b"y".repeat(60_000)[..]].concat()]);
    let mut scanner = HeadScanner::new(HeadKind::Request);
    let limits = Limits::default();
    let mut found = None;
    for end in 1..=input.len() {
        // Everything before is gone over: what was seen may change unnoticed.
        found = scanner.find_end(&input[..end], &limits).unwrap();
        assert_eq!(found.is_some(), end == input.len());
    }
    assert_eq!(found, Some(Head { start: 0, end: input.len() }));
}
