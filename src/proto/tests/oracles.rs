//! The grammar written a second time, by splitting whole inputs, and changed bytes by the
//! ten thousand on which both must agree.

use super::chunks::HEAD;
use super::*;

/// The grammar of RFC 9112, 7.1, once more: by splitting, over the whole input. Gives the
/// content and how long it was, `None` where it is malformed or too short.
fn chunked_oracle(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let token = |text: &[u8]| {
        !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
    };
    let quoted = |text: &[u8]| -> bool {
        let [b'"', inside @ .., b'"'] = text else { return false };
        let mut escaped = false;
        for &byte in inside {
            if byte != b'\t' && (byte < b' ' || byte == 0x7f) {
                return false;
            }
            if !escaped && byte == b'"' {
                return false;
            }
            escaped = !escaped && byte == b'\\';
        }
        !escaped
    };
    let trim = |text: &[u8]| -> Vec<u8> {
        let text = text.iter().copied().skip_while(|b| b" \t".contains(b)).collect::<Vec<_>>();
        let end = text.iter().rposition(|b| !b" \t".contains(b)).map_or(0, |at| at + 1);
        text[..end].to_vec()
    };
    let mut content = Vec::new();
    let mut at = 0;
    loop {
        let line_end = at + input[at..].windows(2).position(|pair| pair == b"\r\n")?;
        let line = &input[at..line_end];
        at = line_end + 2;
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        if !(1..=16).contains(&digits) || (digits < line.len() && trim(line) != line) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        let extensions = &line[digits..];
        if !extensions.is_empty() {
            // Semicolons inside of quoted-strings separate nothing.
            let mut parts = vec![Vec::new()];
            let (mut inside, mut escaped) = (false, false);
            for &byte in extensions {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if inside => escaped = true,
                    b'"' => inside = !inside,
                    b';' if !inside => {
                        parts.push(Vec::new());
                        continue;
                    }
                    _ => {}
                }
                parts.last_mut()?.push(byte);
            }
            if !trim(&parts[0]).is_empty() || parts.len() < 2 {
                return None;
            }
            for part in &parts[1..] {
                let good = match part.iter().position(|&byte| byte == b'=') {
                    None => token(&trim(part)),
                    Some(at) => {
                        let value = trim(&part[at + 1..]);
                        token(&trim(&part[..at])) && (token(&value) || quoted(&value))
                    }
                };
                if !good {
                    return None;
                }
            }
        }
        if size == 0 {
            break;
        }
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        content.extend_from_slice(input.get(at..end)?);
        if input.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        at = end + 2;
    }
    loop {
        let line_end = at + input[at..].windows(2).position(|pair| pair == b"\r\n")?;
        let line = &input[at..line_end];
        at = line_end + 2;
        if line.is_empty() {
            return Some((content, at));
        }
        let colon = line.iter().position(|&byte| byte == b':')?;
        let controls = line[colon..].iter().any(|&b| (b < b' ' && b != b'\t') || b == 0x7f);
        if !token(&line[..colon]) || controls {
            return None;
        }
    }
}

#[test]
fn chunked_content_that_the_oracle_takes_is_taken_and_no_other() {
    let seeds: &[&[u8]] = &[
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5;a=b\r\nhello\r\n0;c=\"d e\" ; f\r\nX-T: v\r\n\r\n",
        b"A\r\n0123456789\r\n1 ; x = \"\\\"\"\r\nz\r\n0\r\nX-T: v\r\nY: w\r\n\r\n",
        b"00000\r\n\r\n",
    ];
    let words: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b";",
        b"=",
        b"\"",
        b"\\",
        b"0",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b";x=y",
        b"X: y\r\n",
        b"-1",
        b"\x80",
    ];
    let limits = Limits::default();
    let mut random = Random(9112);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let seed = random.pick(seeds);
        let input = [HEAD, &random.change(seed, words)].concat();
        let expected = chunked_oracle(&input[HEAD.len()..]);
        let pieces = random.cut(&input);
        let outcome = read_pieces(&Role::Request, &limits, pieces);
        match (&expected, &outcome) {
            (Some((content, used)), Outcome::Whole(received)) => {
                assert_eq!((&received.content, received.used), (content, HEAD.len() + used));
                taken += 1;
            }
            (None, Outcome::Refused(..)) => refused += 1,
            _ => panic!("{expected:?}, but {outcome:?}: {}", input.escape_ascii()),
        }
    }
    assert!(taken > 2_000 && refused > 2_000, "{taken} {refused}");
}

/// Whether these bytes are a head with no more than this grammar, by splitting: the fields,
/// with blanks around their values cut off.
fn head_oracle(head: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
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
        let expected = head_oracle(&head);
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
