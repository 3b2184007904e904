//! How long the codec takes: parsing heads, decoding and encoding chunks, writing heads.

use divan::{Bencher, black_box};
use sessile::message::{HeaderMap, Request, Response};
use sessile::proto::{
    ChunkHead, Decoder, Framing, HeadKind, HeadScanner, Limits, parse_request, parse_response,
    request_framing, write_last_chunk, write_request_head, write_response_head,
};

const SMALL: &[u8] = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

const CURL: &[u8] = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8.5.0\r\n\
    Accept: */*\r\nAccept-Encoding: gzip\r\n\r\n";

const BROWSER: &[u8] = b"GET /articles/2024/a-long-title?utm_source=feed&page=2 HTTP/1.1\r\n\
    Host: www.example.com\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\nReferer: https://www.example.com/articles\r\n\
    Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n\
    Cookie: id=0123456789abcdef0123456789abcdef; theme=dark; consent=yes\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\n\r\n";

fn main() {
    divan::main();
}

#[divan::bench(args = ["small", "curl", "browser"])]
fn request_head(bencher: Bencher<'_, '_>, from: &str) {
    let bytes = match from {
        "small" => SMALL,
        "curl" => CURL,
        _ => BROWSER,
    };
    let limits = Limits::default();
    let mut request = Request::default();
    let mut scanner = HeadScanner::new(HeadKind::Request);
    bencher.bench_local(|| {
        let bytes = black_box(bytes);
        let head = scanner.find_end(bytes, &limits).expect("a head").expect("a whole one");
        parse_request(&bytes[head.start..head.end], &limits, &mut request).expect("a request");
        request_framing(&request)
    });
}

#[divan::bench]
fn response_head(bencher: Bencher<'_, '_>) {
    let limits = Limits::default();
    let mut response = Response::new();
    let mut scanner = HeadScanner::new(HeadKind::Response);
    bencher.bench_local(|| {
        let bytes = black_box(RESPONSE);
        let head = scanner.find_end(bytes, &limits).expect("a head").expect("a whole one");
        parse_response(&bytes[head.start..head.end], &limits, &mut response)
    });
}

#[divan::bench(args = [64, 1024, 16384])]
fn decode_a_mebibyte_in_chunks(bencher: Bencher<'_, '_>, size: usize) {
    let mut bytes = Vec::new();
    for _ in 0..(1 << 20) / size {
        bytes.extend_from_slice(ChunkHead::new(size).expect("not empty").as_bytes());
        bytes.resize(bytes.len() + size, b'x');
        bytes.extend_from_slice(ChunkHead::END);
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    let limits = Limits::default();
    let mut trailers = HeaderMap::new();
    bencher.counter(divan::counter::BytesCount::new(1_u64 << 20)).bench_local(|| {
        let mut decoder = Decoder::new(Framing::Chunked);
        let mut rest = black_box(&bytes[..]);
        let mut content = 0;
        while !decoder.is_done() {
            let step = decoder.step(rest, &limits, &mut trailers).expect("good chunks");
            decoder.consume(step.data);
            content += step.data;
            rest = &rest[step.skip + step.data..];
        }
        assert_eq!(content, 1 << 20);
    });
}

#[divan::bench]
fn encode_the_frame_of_a_chunk(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(64);
    bencher.bench_local(|| {
        out.clear();
        if let Some(head) = ChunkHead::new(black_box(16384)) {
            out.extend_from_slice(head.as_bytes());
        }
        out.extend_from_slice(ChunkHead::END);
    });
}

#[divan::bench]
fn write_the_last_chunk(bencher: Bencher<'_, '_>) {
    let trailers = HeaderMap::new();
    let mut out = Vec::with_capacity(64);
    bencher.bench_local(|| {
        out.clear();
        write_last_chunk(&mut out, black_box(&trailers))
    });
}

#[divan::bench]
fn write_a_request_head(bencher: Bencher<'_, '_>) {
    let mut request = Request::get("/hello");
    request.headers_mut().set("Host", "127.0.0.1:8080").expect("a good field");
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        write_request_head(&mut out, black_box(&request))
    });
}

#[divan::bench]
fn write_a_response_head(bencher: Bencher<'_, '_>) {
    let mut response = Response::new();
    response.set_content_type("text/plain").set_content_length(13);
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        write_response_head(&mut out, black_box(&response))
    });
}
