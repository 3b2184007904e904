//! wrk and ab put `serve` under load. `tests/peers/install.sh` gets both.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

mod programs;

use std::process::Command;

use programs::{Folder, Serve, pattern, run};

/// What ab says of so many requests by so many clients; none may fail.
fn ab(requests: &str, clients: &str, arguments: &[&str]) -> String {
    let output =
        run(Command::new("ab").args(["-q", "-s", "10", "-n", requests, "-c", clients]).args(arguments));
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{report} {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(value(&report, "Complete requests:"), requests, "{report}");
    assert_eq!(value(&report, "Failed requests:"), "0", "{report}");
    assert!(!report.contains("Non-2xx"), "{report}");
    report
}

/// The word behind a name.
fn value<'a>(report: &'a str, name: &str) -> &'a str {
    report.split(name).nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default()
}

/// Two seconds of wrk with so many clients; there may be no error. Gives the number of answers.
fn wrk(clients: &str, arguments: &[&str]) -> u64 {
    let report = wrk_report(clients, arguments);
    assert!(!report.contains("Socket errors"), "{report}");
    answers(&report)
}

fn wrk_report(clients: &str, arguments: &[&str]) -> String {
    let output = run(Command::new("wrk")
        .args(["-t", "2", "-d", "2s", "--timeout", "5s", "-c", clients])
        .args(arguments));
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{report} {}", String::from_utf8_lossy(&output.stderr));
    assert!(!report.contains("Non-2xx"), "{report}");
    report
}

fn answers(report: &str) -> u64 {
    let line = report.lines().find(|line| line.contains(" requests in ")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs ab"]
fn ab_over_persistent_connections_and_over_new_ones() {
    let serve = Serve::start(&[]);
    let kept = ab("20000", "32", &["-k", &serve.url("/hello")]);
    assert_eq!(value(&kept, "Keep-Alive requests:"), "20000", "{kept}");
    assert_eq!(value(&kept, "Document Length:"), "13", "{kept}");
    ab("5000", "32", &[&serve.url("/hello")]);
    // Without a length, content ends with the connection for ab, which speaks HTTP/1.0.
    let closed = ab("2000", "8", &["-k", &serve.url("/chunked/30000")]);
    assert_eq!(value(&closed, "Keep-Alive requests:"), "0", "{closed}");
    assert_eq!(value(&closed, "Document Length:"), "30000", "{closed}");
}

#[test]
#[ignore = "needs ab"]
fn ab_sends_content() {
    let (serve, folder) = (Serve::start(&[]), Folder::new());
    let content = folder.file("content", &pattern(10_000));
    let report =
        ab("5000", "16", &["-k", "-p", &content, "-T", "application/octet-stream", &serve.url("/echo")]);
    assert_eq!(value(&report, "Document Length:"), "10000", "{report}");
}

#[test]
#[ignore = "needs wrk"]
fn wrk_over_many_connections() {
    let serve = Serve::start(&[]);
    for clients in ["2", "64", "400"] {
        assert!(wrk(clients, &[&serve.url("/hello")]) > 500, "{clients}");
    }
    assert!(wrk("16", &[&serve.url("/chunked/50000")]) > 100);
}

#[test]
#[ignore = "needs wrk"]
fn wrk_over_more_connections_than_there_are_threads() {
    let serve = Serve::start(&["--max-threads", "8"]);
    let report = wrk_report("64", &[&serve.url("/hello")]);
    // A connection that is given up just when its client goes on is an error for wrk, which asks only
    // once. How many are depends on how busy the machine is.
    let lost: u64 =
        report.split(", read ").nth(1).map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap());
    assert!(answers(&report) > 500 && lost * 10 < answers(&report), "{report}");
    if report.contains("Socket errors") {
        assert!(report.contains("connect 0,") && report.contains("write 0, timeout 0"), "{report}");
    }
}

#[test]
#[ignore = "needs wrk"]
fn wrk_sends_sixteen_requests_at_a_time() {
    let (serve, folder) = (Serve::start(&[]), Folder::new());
    let script = folder.file(
        "pipeline.lua",
        b"local all\n\
          init = function() local r = {}; for i = 1, 16 do r[i] = wrk.format('GET', '/hello') end; \
          all = table.concat(r) end\n\
          request = function() return all end\n",
    );
    assert!(wrk("32", &["-s", &script, &serve.url("/hello")]) > 5000);
}

#[test]
#[ignore = "needs wrk"]
fn wrk_asks_for_files_and_parts_of_them() {
    let folder = Folder::new();
    folder.file("a.bin", &pattern(200_000));
    let serve = Serve::start(&["--root", folder.path().to_str().unwrap()]);
    let url = serve.url("/file/a.bin");
    assert!(wrk("16", &[&url]) > 100);
    assert!(wrk("16", &["-H", "Range: bytes=1000-150999", &url]) > 100);
}
