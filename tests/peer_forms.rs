//! Forms to and from curl and Python's requests, and Python's parser of multipart bodies.

#![allow(clippy::unwrap_used)] // in the helpers of tests too

mod programs;
#[path = "support/server.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use programs::{Folder, pattern, python, run};
use sessile::message::{Form, Request, Response, StatusCode};
use sessile::server::HttpServerParams;
use sessile::session::{ClientSession, HttpClientSession};
use sessile::web::{BytesPart, FilePart, MultipartForm, Part, ReaderPart};
use support::Running;

/// What a form held: its fields, and name, file name, type and content of its files.
type Held = (Form, Vec<(String, String, String, Vec<u8>)>);

/// Receives forms, and answers 204.
fn receive_forms() -> (Running, mpsc::Receiver<Held>) {
    let (held, forms) = mpsc::channel();
    let server = Running::with(HttpServerParams::new(), move |request, response| {
        let (mut form, mut files) = (Form::new(), Vec::new());
        form.load_parts(request.head(), request.body(), |part: &mut Part<'_>| {
            let mut bytes = Vec::new();
            part.read_to_end(&mut bytes)?;
            let text = |text: Option<&str>| text.unwrap_or_default().to_string();
            files.push((text(part.name()), text(part.file_name()), text(part.content_type()), bytes));
            Ok(())
        })?;
        held.send((form, files)).unwrap();
        response.set_status_and_reason(StatusCode::NO_CONTENT);
        response.send()?.finish()
    });
    (server, forms)
}

#[test]
#[ignore = "needs curl"]
fn curl_sends_fields_and_files() {
    let folder = Folder::new();
    let large = pattern(3_000_000);
    let file = folder.file("large.bin", &large);
    // A Content-Length, chunks, and both of curl's ways to escape a name.
    for extra in [&[][..], &["-H", "Transfer-Encoding: chunked"], &["--form-escape"]] {
        let (server, forms) = receive_forms();
        let output = run(Command::new("curl")
            .args(["-sS", "--fail", "-F", "title=two\r\nlines -- ä", "-F"])
            .arg(format!("large=@{file};type=application/x-pattern"))
            .args(["-F", "small=@-;filename=a \"b\".txt", "-F", "empty="])
            .args(extra)
            .arg(format!("http://{}/?query=1", server.address)));
        assert!(output.status.success(), "{output:?}");
        let (form, files) = forms.recv().unwrap();
        assert!(form.iter().eq([("query", "1"), ("title", "two\r\nlines -- ä"), ("empty", "")]), "{form:?}");
        let about: Vec<_> = files.iter().map(|file| (&file.0[..], &file.1[..], &file.2[..])).collect();
        let small = ("small", "a \"b\".txt", "text/plain");
        assert_eq!(about, [("large", "large.bin", "application/x-pattern"), small]);
        assert!(files[0].3 == large && files[1].3.is_empty());
    }
}

#[test]
#[ignore = "needs python3 with requests"]
fn python_requests_sends_fields_and_files() {
    let (server, forms) = receive_forms();
    let address = server.address;
    let program = format!(
        "import requests\n\
         files = {{'photo': ('ü \"1\".jpg', bytes(range(256)) * 999, 'image/jpeg'), 'plain': b'--\\r\\n'}}\n\
         answer = requests.post('http://{address}/', data={{'a': 'ä\\n', 'b': ['1', '2']}}, files=files)\n\
         assert answer.status_code == 204, answer\n"
    );
    let output = run(&mut python(&program));
    assert!(output.status.success(), "{output:?}");
    let (form, files) = forms.recv().unwrap();
    assert!(form.iter().eq([("a", "ä\n"), ("b", "1"), ("b", "2")]), "{form:?}");
    assert_eq!((&files[0].0[..], &files[0].1[..], &files[0].2[..]), ("photo", "ü \"1\".jpg", "image/jpeg"));
    assert_eq!(files[0].3, (0..=255).cycle().take(256 * 999).collect::<Vec<u8>>());
    assert_eq!((&files[1].0[..], &files[1].1[..], &files[1].3[..]), ("plain", "plain", &b"--\r\n"[..]));
}

/// Reads a form by Python's `email`, and prints what it holds.
const PARSER: &str = "
import http.server, email, email.policy, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        if 'Content-Length' in self.headers:
            body = self.rfile.read(int(self.headers['Content-Length']))
        else:
            body = b''
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        head = b'Content-Type: ' + self.headers['Content-Type'].encode() + b'\\r\\n\\r\\n'
        form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
        assert not form.defects, form.defects
        answer = ''
        for part in form.iter_parts():
            name = part.get_param('name', header='content-disposition')
            content = part.get_payload(decode=True)
            answer += f'{name}|{part.get_filename()}|{part.get_content_type()}|{len(content)}|{sum(content)}\\n'
        self.send_response(200)
        self.send_header('Content-Length', str(len(answer.encode())))
        self.end_headers()
        self.wfile.write(answer.encode())
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
server.handle_request()
";

#[test]
#[ignore = "needs python3"]
fn python_reads_what_is_sent() {
    let folder = Folder::new();
    let content = pattern(700_000);
    let sum: u64 = content.iter().map(|byte| u64::from(*byte)).sum();
    let file = folder.file("pattern.bin", &content);
    for known in [true, false] {
        let mut child = python(PARSER).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();

        let mut form = MultipartForm::new().unwrap();
        form.add("title", "two\r\nlines").add_part("file", FilePart::open(&file).unwrap());
        form.add_part("page", BytesPart::new("<p>").with_media_type("text/html").with_file_name("a b.html"));
        if !known {
            form.add_part("reader", ReaderPart::new(std::io::repeat(1).take(100_000)));
        }
        let mut session = HttpClientSession::new("127.0.0.1", port.trim().parse().unwrap());
        let mut request = Request::post("/");
        form.prepare_submit(&mut request).unwrap();
        assert_eq!(request.is_chunked(), !known);
        let mut body = session.send_request(&request).unwrap();
        form.write_to(&mut body).unwrap();
        body.flush().unwrap();
        let mut answer = String::new();
        session.receive_response(&mut Response::new()).unwrap().read_to_string(&mut answer).unwrap();
        let mut expected = format!(
            "title|None|text/plain|10|{}\nfile|pattern.bin|application/octet-stream|700000|{sum}\n\
             page|a b.html|text/html|3|{}\n",
            "two\r\nlines".bytes().map(u64::from).sum::<u64>(),
            "<p>".bytes().map(u64::from).sum::<u64>(),
        );
        if !known {
            expected += "reader|None|application/octet-stream|100000|100000\n";
        }
        assert_eq!(answer, expected);
        drop(session);
        assert!(child.wait().unwrap().success());
    }
}
