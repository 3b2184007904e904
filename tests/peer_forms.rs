//! Forms to and from curl and Python's requests, and Python's parser of multipart bodies.

mod programs;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread::{self, JoinHandle};

use programs::{Folder, pattern, run};
use sessile::message::{Form, Request, Response, StatusCode};
use sessile::net::{Socket, Stream};
use sessile::session::{ClientSession, HttpClientSession, HttpServerSession};
use sessile::session::{ServerSession, ServerSessionParams, Session};
use sessile::web::{BytesPart, FilePart, MultipartForm, Part, ReaderPart};

/// What a form held: its fields, and name, file name, type and content of its files.
type Held = (Form, Vec<(String, String, String, Vec<u8>)>);

/// Receives one form, and answers 204.
fn receive_form() -> (SocketAddr, JoinHandle<Held>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let stream = Stream::Tcp(Socket::from_tcp(listener.accept().unwrap().0).unwrap());
        let mut session = HttpServerSession::new(stream, ServerSessionParams::default()).unwrap();
        assert!(session.has_more_requests().unwrap());
        let mut request = Request::default();
        let content = session.receive_request(&mut request);
        let (mut form, mut files) = (Form::new(), Vec::new());
        // The borrow of the session ends with the content.
        let mut content = content.unwrap();
        form.load_parts(&request, &mut content, |part: &mut Part<'_>| {
            let text = |text: Option<&str>| text.unwrap_or_default().to_string();
            let about = (text(part.name()), text(part.file_name()), text(part.content_type()));
            let mut bytes = Vec::new();
            part.read_to_end(&mut bytes)?;
            files.push((about.0, about.1, about.2, bytes));
            Ok(())
        })
        .unwrap();
        session.send_response(&Response::with_status(StatusCode::NO_CONTENT)).unwrap().finish().unwrap();
        session.connection_mut().flush().unwrap();
        (form, files)
    });
    (address, server)
}

#[test]
#[ignore = "needs curl"]
fn curl_sends_fields_and_files() {
    let folder = Folder::new();
    let large = pattern(3_000_000);
    let file = folder.file("large.bin", &large);
    // A Content-Length, chunks, and both of curl's ways to escape a name.
    for extra in [&[][..], &["-H", "Transfer-Encoding: chunked"], &["--form-escape"]] {
        let (address, server) = receive_form();
        let output = run(Command::new("curl")
            .args(["-sS", "--fail", "-F", "title=two\r\nlines -- ä", "-F"])
            .arg(format!("large=@{file};type=application/x-pattern"))
            .args(["-F", "small=@-;filename=a \"b\".txt", "-F", "empty="])
            .args(extra)
            .arg(format!("http://{address}/?query=1")));
        assert!(output.status.success(), "{output:?}");
        let (form, files) = server.join().unwrap();
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
    let (address, server) = receive_form();
    let program = format!(
        "import requests\n\
         files = {{'photo': ('ü \"1\".jpg', bytes(range(256)) * 999, 'image/jpeg'), 'plain': b'--\\r\\n'}}\n\
         answer = requests.post('http://{address}/', data={{'a': 'ä\\n', 'b': ['1', '2']}}, files=files)\n\
         assert answer.status_code == 204, answer\n"
    );
    let output = run(Command::new("python3").args(["-c", &program]));
    assert!(output.status.success(), "{output:?}");
    let (form, files) = server.join().unwrap();
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
        let mut child = Command::new("python3")
            .args(["-c", PARSER])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut stdout, &mut port).unwrap();

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
