//! Which certificates are accepted, on either side, and what is said about those that are not.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/tls.rs"]
mod tls;

use std::sync::{Arc, Mutex};

use rcgen::{DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
use sessile::session::{ClientSession, HttpsClientSession};
use sessile::tls::{Certificate, CertificateProblem, SubjectName, TlsContext, VerificationMode};
use sessile::{ErrorKind, Phase};
use tls::{Authority, Issued, Server, get, problem, self_signed, to_loopback};

/// What a client that trusts the authority says about this certificate of `localhost`.
fn refused(authority: &Authority, issued: &Issued) -> (CertificateProblem, String) {
    refused_by(&authority.trusting(), issued)
}

fn refused_by(context: &TlsContext, issued: &Issued) -> (CertificateProblem, String) {
    let server = Server::answering(&issued.serving());
    let error = get(&mut server.session(context), "/").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert_eq!(error.phase(), Some(Phase::Handshake), "{error:?}");
    (problem(&error).expect("the certificate is the reason"), error.to_string())
}

#[test]
fn a_valid_certificate_is_accepted_and_can_be_looked_at() {
    let authority = Authority::new("an authority");
    let server = Server::answering(&authority.server(&["localhost", "127.0.0.1"]).serving());
    let mut session = server.session(&authority.trusting());
    assert_eq!(get(&mut session, "/hello").unwrap().1, "/hello");
    assert!(session.is_secure());
    let certificate = session.server_certificate().unwrap();
    assert!(certificate.issuer().contains("an authority"), "{certificate:?}");
    assert!(certificate.issued_by(&Certificate::from_pem(&authority.pem).unwrap()));
    assert!(!certificate.issued_by(&Certificate::from_pem(&Authority::new("an authority").pem).unwrap()));
    assert_eq!(session.server_certificate_chain(), [certificate]);
    session.reset();
    assert_eq!(session.server_certificate(), None, "there is no connection");
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::new("an authority");
    let issued = authority.issue(1, &["localhost"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let (problem, text) = refused(&authority, &issued);
    assert_eq!(problem, CertificateProblem::Expired);
    assert_eq!(text, "the certificate of localhost is not accepted: it has expired");
}

#[test]
fn a_certificate_of_the_future_is_refused() {
    let authority = Authority::new("an authority");
    let issued = authority.issue(1, &["localhost"], |params| params.not_before = date_time_ymd(2199, 1, 1));
    assert_eq!(refused(&authority, &issued).0, CertificateProblem::NotYetValid);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new("an authority");
    let (problem, text) = refused(&authority, &authority.server(&["example.com"]));
    assert_eq!(problem, CertificateProblem::WrongName);
    assert_eq!(text, "the certificate of localhost is not accepted: it is for another name");
}

#[test]
fn a_common_name_does_not_stand_for_a_name() {
    let authority = Authority::new("an authority");
    let issued = authority.issue(1, &[], |params| {
        params.distinguished_name.push(DnType::CommonName, "localhost");
    });
    assert_eq!(refused(&authority, &issued).0, CertificateProblem::WrongName);
}

#[test]
fn a_client_s_certificate_is_no_server_s() {
    let authority = Authority::new("an authority");
    let issued = authority.issue(1, &["localhost"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert_eq!(refused(&authority, &issued).0, CertificateProblem::WrongUsage);
}

#[test]
fn an_authority_s_certificate_is_no_server_s() {
    let authority = Authority::new("an authority");
    let issued = authority.issue(1, &["localhost"], |params| {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let (problem, text) = refused(&authority, &issued);
    assert_eq!(problem, CertificateProblem::WrongUsage);
    assert!(text.contains("CA:TRUE"), "{text}");
}

#[test]
fn a_self_signed_certificate_is_refused_and_the_ways_out_are_named() {
    let (problem, text) = refused(&Authority::new("an authority"), &self_signed(&["localhost"]));
    assert_eq!(problem, CertificateProblem::UnknownIssuer);
    for way in ["add_ca_file", "add_ca_from_env", "SSL_CERT_FILE", "platform-verifier", "dangerous()"] {
        assert!(text.contains(way), "{way} is missing: {text}");
    }
}

#[test]
fn a_self_signed_certificate_that_was_added_is_accepted() {
    let issued = self_signed(&["localhost"]);
    let context = TlsContext::client().only_added_cas().add_ca_pem(&issued.pem).build().unwrap();
    let server = Server::answering(&issued.serving());
    get(&mut server.session(&context), "/").unwrap();
}

#[test]
fn one_that_calls_itself_an_authority_is_accepted_if_it_was_added_and_nothing_else_is_wrong_with_it() {
    let make = |names: &[&str], change: fn(&mut rcgen::CertificateParams)| {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        change(&mut params);
        Issued { pem: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem(), serial: 1 }
    };
    let adding =
        |issued: &Issued| TlsContext::client().only_added_cas().add_ca_pem(&issued.pem).build().unwrap();
    let good = make(&["localhost"], |_| {});
    let server = Server::answering(&good.serving());
    get(&mut server.session(&adding(&good)), "/").unwrap();

    let other = make(&["localhost"], |_| {});
    assert_eq!(refused_by(&adding(&other), &good).0, CertificateProblem::WrongUsage, "not the one");
    let misnamed = make(&["example.com"], |_| {});
    assert_eq!(refused_by(&adding(&misnamed), &misnamed).0, CertificateProblem::WrongName);
    let expired = make(&["localhost"], |params| params.not_after = date_time_ymd(2002, 1, 1));
    assert_eq!(refused_by(&adding(&expired), &expired).0, CertificateProblem::Expired);
    let misused = make(&["localhost"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert_eq!(refused_by(&adding(&misused), &misused).0, CertificateProblem::WrongUsage);
}

#[test]
fn an_authority_that_nobody_trusts_is_no_authority() {
    let (trusted, other) = (Authority::new("an authority"), Authority::new("an authority"));
    let (problem, text) = refused(&trusted, &other.server(&["localhost"]));
    assert!(
        matches!(problem, CertificateProblem::UnknownIssuer | CertificateProblem::BadSignature),
        "{problem:?}"
    );
    let stranger = Authority::new("a stranger");
    let (problem, ways_out) = refused(&trusted, &stranger.server(&["localhost"]));
    assert_eq!(problem, CertificateProblem::UnknownIssuer);
    assert!(ways_out.contains("add_ca_file"), "{text} {ways_out}");
}

#[test]
fn a_default_context_trusts_no_authority_of_the_test_s() {
    let server = Server::answering(&Authority::new("an authority").server(&["localhost"]).serving());
    let mut session = HttpsClientSession::new("localhost", server.address.port());
    session.set_resolver(to_loopback());
    assert_eq!(problem(&get(&mut session, "/").unwrap_err()), Some(CertificateProblem::UnknownIssuer));
}

#[test]
fn a_revoked_certificate_is_refused_and_others_of_the_same_authority_are_not() {
    let authority = Authority::new("an authority");
    let list = authority.revocation_list(&[66]);
    let context = TlsContext::client().only_added_cas().add_ca_pem(&authority.pem).add_crl_pem(&list);
    let context = context.build().unwrap();
    let revoked = authority.issue(66, &["localhost"], |_| {});
    assert_eq!(refused_by(&context, &revoked).0, CertificateProblem::Revoked);
    let server = Server::answering(&authority.server(&["localhost"]).serving());
    get(&mut server.session(&context), "/").unwrap();
}

#[test]
fn whether_a_certificate_was_revoked_must_be_known_if_that_is_asked_for() {
    let (one, other) = (Authority::new("one"), Authority::new("other"));
    let context = TlsContext::client()
        .only_added_cas()
        .add_ca_pem(&one.pem)
        .add_ca_pem(&other.pem)
        .add_crl_pem(one.revocation_list(&[66]));
    let issued = other.server(&["localhost"]);
    let server = Server::answering(&issued.serving());
    get(&mut server.session(&context.clone().build().unwrap()), "/").unwrap();
    let strict = context.require_revocation_status(true).build().unwrap();
    assert_eq!(refused_by(&strict, &issued).0, CertificateProblem::UnknownRevocationStatus);
}

#[test]
fn an_address_is_matched_by_an_address_and_not_by_a_name_that_looks_like_it() {
    let authority = Authority::new("an authority");
    let right = Server::answering(&authority.server(&["127.0.0.1"]).serving());
    let mut session =
        HttpsClientSession::with_context("127.0.0.1", right.address.port(), authority.trusting());
    let (response, _) = get(&mut session, "/").unwrap();
    assert_eq!(response.headers().get("X-Tls"), Some("false"), "an address is no server name");

    let wrong = Server::answering(&authority.server(&["127.0.0.2", "localhost"]).serving());
    let mut session =
        HttpsClientSession::with_context("127.0.0.1", wrong.address.port(), authority.trusting());
    assert_eq!(problem(&get(&mut session, "/").unwrap_err()), Some(CertificateProblem::WrongName));
}

#[test]
fn an_ipv6_host_may_stand_in_brackets() {
    let authority = Authority::new("an authority");
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else { return };
    let port = listener.local_addr().unwrap().port();
    let serving = authority.server(&["::1"]).serving();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = tls::answer_all(stream, &serving);
        }
    });
    for host in ["::1", "[::1]"] {
        let mut session = HttpsClientSession::with_context(host, port, authority.trusting());
        get(&mut session, "/").unwrap_or_else(|error| panic!("{host}: {error:?}"));
    }
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let authority = Authority::new("an authority");
    let server = Server::answering(&authority.server(&["*.example.com"]).serving());
    for (host, fits) in [("a.example.com", true), ("example.com", false), ("a.b.example.com", false)] {
        let mut session = server.session(&authority.trusting());
        session.set_host(host).unwrap();
        assert_eq!(get(&mut session, "/").is_ok(), fits, "{host}");
    }
}

#[test]
fn a_chain_with_an_intermediate_is_accepted_if_it_is_sent() {
    let root = Authority::new("a root");
    let issued = root.intermediate("an intermediate").server(&["localhost"]);
    let server = Server::answering(&issued.serving());
    let mut session = server.session(&root.trusting());
    get(&mut session, "/").unwrap();
    assert_eq!(session.server_certificate_chain().len(), 2);

    let alone = issued.pem.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap().to_owned();
    let incomplete = Issued { pem: alone, ..issued };
    assert_eq!(refused(&root, &incomplete).0, CertificateProblem::UnknownIssuer);
}

/// An RSA authority and a certificate for `localhost` that it signed by SHA-1, valid until 2126.
const SHA1_CA: &str = include_str!("data/sha1-ca.pem");
const SHA1_CHAIN: &str = include_str!("data/sha1-server.pem");
const SHA1_KEY: &str = include_str!("data/sha1-server.key");

#[test]
fn a_signature_by_sha_1_is_refused() {
    let issued = Issued { pem: SHA1_CHAIN.to_owned(), key: SHA1_KEY.to_owned(), serial: 1 };
    assert_eq!(Certificate::from_pem(SHA1_CHAIN).unwrap().signature_algorithm(), "sha1WithRSAEncryption");
    let context = TlsContext::client().only_added_cas().add_ca_pem(SHA1_CA).build().unwrap();
    assert_eq!(refused_by(&context, &issued).0, CertificateProblem::UnsupportedSignature);
}

#[test]
fn a_handler_is_told_why_and_its_word_counts() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let asked = told.clone();
    let context = TlsContext::client()
        .dangerous()
        .on_invalid_certificate(move |refused| {
            let names: Vec<_> = refused.certificate().dns_names().collect();
            asked.lock().unwrap().push((refused.problem(), refused.server_name().unwrap().to_owned(), names));
            refused.problem() == CertificateProblem::UnknownIssuer && refused.certificate().is_self_issued()
        })
        .build()
        .unwrap();
    let server = Server::answering(&self_signed(&["localhost"]).serving());
    get(&mut server.session(&context), "/").unwrap();
    let expected = (CertificateProblem::UnknownIssuer, "localhost".to_owned(), vec!["localhost".to_owned()]);
    assert_eq!(told.lock().unwrap().pop(), Some(expected));

    let stranger = Server::answering(&Authority::new("a stranger").server(&["localhost"]).serving());
    let error = get(&mut stranger.session(&context), "/").unwrap_err();
    assert_eq!(problem(&error), Some(CertificateProblem::UnknownIssuer));
}

#[test]
fn a_handler_is_not_asked_about_what_is_valid() {
    let authority = Authority::new("an authority");
    let context = TlsContext::client()
        .add_ca_pem(&authority.pem)
        .dangerous()
        .on_invalid_certificate(|refused| panic!("asked about {refused:?}"))
        .build()
        .unwrap();
    let server = Server::answering(&authority.server(&["localhost"]).serving());
    get(&mut server.session(&context), "/").unwrap();
}

#[test]
fn a_pin_is_a_handler_that_trusts_nobody_else() {
    let pinned = self_signed(&["localhost"]);
    let pin = Certificate::from_pem(&pinned.pem).unwrap().fingerprint();
    let context = TlsContext::client()
        .only_added_cas()
        .dangerous()
        .on_invalid_certificate(move |refused| refused.certificate().fingerprint() == pin)
        .build()
        .unwrap();
    let server = Server::answering(&pinned.serving());
    get(&mut server.session(&context), "/").unwrap();
    let other = Server::answering(&self_signed(&["localhost"]).serving());
    assert!(get(&mut other.session(&context), "/").is_err());
}

#[test]
fn every_certificate_is_accepted_only_where_that_is_spelled_out() {
    let server = Server::answering(&self_signed(&["example.com"]).serving());
    let context = TlsContext::client().dangerous().accept_invalid_certificates().build().unwrap();
    get(&mut server.session(&context), "/").unwrap();
    let none = TlsContext::client().verification_mode(VerificationMode::None).build().unwrap_err();
    assert_eq!(none.kind(), ErrorKind::InvalidArgument);
    for mode in [VerificationMode::Relaxed, VerificationMode::Strict, VerificationMode::Once] {
        let context = TlsContext::client().verification_mode(mode).build().unwrap();
        assert!(get(&mut server.session(&context), "/").is_err(), "{mode:?}");
    }
}

#[test]
fn the_name_that_is_asked_for_can_be_another_one_than_the_host() {
    let authority = Authority::new("an authority");
    let server = Server::answering(&authority.server(&["service.internal"]).serving());
    let mut session =
        HttpsClientSession::with_context("127.0.0.1", server.address.port(), authority.trusting());
    session.set_server_name(Some("service.internal")).unwrap();
    let (response, _) = get(&mut session, "/").unwrap();
    assert_eq!(response.headers().get("X-Tls"), Some("false service.internal"));
    session.reset();
    session.set_server_name(None).unwrap();
    assert_eq!(problem(&get(&mut session, "/").unwrap_err()), Some(CertificateProblem::WrongName));
    assert_eq!(session.set_server_name(Some("no name")).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn the_name_is_that_of_the_session_s_host_at_every_connect() {
    let authority = Authority::new("an authority");
    let server = Server::answering(&authority.server(&["one.example", "two.example"]).serving());
    let mut session = server.session(&authority.trusting());
    for host in ["one.example", "two.example", "ONE.example", "two.example."] {
        session.reset();
        session.set_host(host).unwrap();
        let (response, _) = get(&mut session, "/").unwrap();
        let asked = host.trim_end_matches('.').to_lowercase();
        assert!(response.headers().get("X-Tls").unwrap().ends_with(&asked), "{host}");
    }
    session.reset();
    session.set_host("three.example").unwrap();
    assert_eq!(problem(&get(&mut session, "/").unwrap_err()), Some(CertificateProblem::WrongName));
}

#[test]
fn a_name_is_not_told_if_that_is_turned_off_but_must_still_be_proved() {
    let authority = Authority::new("an authority");
    let server = Server::answering(&authority.server(&["localhost"]).serving());
    let mut session = server.session(&authority.trusting());
    session.set_send_server_name(false);
    assert_eq!(get(&mut session, "/").unwrap().0.headers().get("X-Tls"), Some("false"));
    let silent = TlsContext::client().only_added_cas().add_ca_pem(&authority.pem).send_server_name(false);
    let mut session = server.session(&silent.build().unwrap());
    assert_eq!(get(&mut session, "/").unwrap().0.headers().get("X-Tls"), Some("false"));
    session.reset();
    session.set_host("example.com").unwrap();
    assert_eq!(problem(&get(&mut session, "/").unwrap_err()), Some(CertificateProblem::WrongName));
}

/// A server that asks clients for certificates of this authority.
fn asking(server: &Issued, clients: &Authority, mode: VerificationMode) -> TlsContext {
    TlsContext::server()
        .certificate_pem(&server.pem, &server.key)
        .client_ca_pem(&clients.pem)
        .verification_mode(mode)
        .build()
        .unwrap()
}

fn showing(authority: &Authority, client: &Issued) -> TlsContext {
    let context = TlsContext::client().only_added_cas().add_ca_pem(&authority.pem);
    context.certificate_pem(&client.pem, &client.key).build().unwrap()
}

#[test]
fn a_client_certificate_is_visible_to_the_server() {
    let authority = Authority::new("an authority");
    for mode in [VerificationMode::Relaxed, VerificationMode::Strict, VerificationMode::Once] {
        let server = Server::answering(&asking(&authority.server(&["localhost"]), &authority, mode));
        let mut session = server.session(&showing(&authority, &authority.client("somebody")));
        let (response, _) = get(&mut session, "/").unwrap();
        assert_eq!(response.headers().get("X-Client"), Some("CN=somebody"), "{mode:?}");
    }
}

#[test]
fn a_missing_client_certificate_is_an_error_that_says_so_where_it_is_required() {
    let authority = Authority::new("an authority");
    let issued = authority.server(&["localhost"]);
    let required = Server::answering(&asking(&issued, &authority, VerificationMode::Strict));
    let error = get(&mut required.session(&authority.trusting()), "/").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(error.to_string().contains("requires a certificate"), "{error}");

    let asked = Server::answering(&asking(&issued, &authority, VerificationMode::Relaxed));
    let (response, _) = get(&mut asked.session(&authority.trusting()), "/").unwrap();
    assert!(!response.headers().has("X-Client"));
    let unasked = Server::answering(&asking(&issued, &authority, VerificationMode::None));
    let (response, _) = get(&mut unasked.session(&showing(&authority, &authority.client("x"))), "/").unwrap();
    assert!(!response.headers().has("X-Client"), "nobody asked");
}

#[test]
fn a_wrong_client_certificate_is_refused_even_where_none_would_do() {
    let authority = Authority::new("an authority");
    let stranger = Authority::new("a stranger");
    let issued = authority.server(&["localhost"]);
    let expired = authority.issue(3, &[], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let wrong = [stranger.client("x"), expired, authority.server(&["localhost"])];
    for mode in [VerificationMode::Relaxed, VerificationMode::Strict] {
        let server = Server::answering(&asking(&issued, &authority, mode));
        for client in &wrong {
            let error = get(&mut server.session(&showing(&authority, client)), "/").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
        }
    }
}

#[test]
fn a_revoked_client_certificate_is_refused() {
    let authority = Authority::new("an authority");
    let issued = authority.server(&["localhost"]);
    let context = TlsContext::server()
        .certificate_pem(&issued.pem, &issued.key)
        .client_ca_pem(&authority.pem)
        .client_crl_pem(authority.revocation_list(&[2]))
        .build()
        .unwrap();
    let server = Server::answering(&context);
    let error = get(&mut server.session(&showing(&authority, &authority.client("x"))), "/").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    let other = authority.issue(7, &[], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    get(&mut server.session(&showing(&authority, &other)), "/").unwrap();
}

#[test]
fn a_server_s_handler_decides_about_clients() {
    let authority = Authority::new("an authority");
    let issued = authority.server(&["localhost"]);
    let context = TlsContext::server()
        .certificate_pem(&issued.pem, &issued.key)
        .dangerous()
        .on_invalid_certificate(|refused| {
            assert_eq!(refused.server_name(), None);
            refused.certificate().common_name().as_deref() == Some("a friend")
        })
        .build()
        .unwrap();
    let server = Server::answering(&context);
    let strangers = Authority::new("strangers");
    let (response, _) =
        get(&mut server.session(&showing(&authority, &strangers.client("a friend"))), "/").unwrap();
    assert_eq!(response.headers().get("X-Client"), Some("CN=a friend"));
    assert!(get(&mut server.session(&showing(&authority, &strangers.client("no friend"))), "/").is_err());
    assert!(get(&mut server.session(&authority.trusting()), "/").is_err(), "one is required");
}

#[test]
fn what_can_t_be_used_is_an_error_and_no_panic() {
    let authority = Authority::new("an authority");
    let (one, other) = (authority.server(&["localhost"]), authority.server(&["localhost"]));
    let bad: [(&str, &str, &str); 7] = [
        (&one.pem, &other.key, "is not that of the first certificate"),
        (&one.pem, "", "is no PEM"),
        (&one.pem, &one.pem, "holds no private key"),
        (&one.pem, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "can't be used"),
        (
            &one.pem,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "under a passphrase",
        ),
        (&one.key, &one.key, "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &one.key, "can't be read"),
    ];
    for (certificate, key, what) in bad {
        for error in [
            TlsContext::client().certificate_pem(certificate, key).build().unwrap_err(),
            TlsContext::server().certificate_pem(certificate, key).build().unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
            assert!(error.to_string().contains(what), "{what}: {error}");
            assert!(!format!("{error:?}").contains("BEGIN"), "{error:?}");
        }
    }
    let missing = TlsContext::client().add_ca_file("/no/such/file.pem").build().unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Io);
    assert!(missing.to_string().contains("/no/such/file.pem"));
    assert!(TlsContext::client().add_ca_pem("nothing").build().is_err());
    assert!(TlsContext::client().only_added_cas().build().is_err());
    assert!(TlsContext::client().add_crl_pem("nothing").build().is_err());
    assert!(TlsContext::server().build().is_err());
    let asks = TlsContext::server().certificate_pem(&one.pem, &one.key);
    assert!(asks.verification_mode(VerificationMode::Strict).build().is_err(), "of which authority?");
}

#[test]
fn files_hold_pem_or_der_and_a_folder_holds_files() {
    let folder = std::env::temp_dir().join(format!("sessile-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let authority = Authority::new("an authority");
    let issued = authority.server(&["localhost"]);
    let der = |pem: &str| Certificate::from_pem(pem).unwrap().der().to_vec();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let both = write("both.pem", format!("a comment\n{}{}", issued.key, issued.pem).as_bytes());
    let roots = folder.join("roots");
    std::fs::create_dir_all(&roots).unwrap();
    write("roots/ca.pem", authority.pem.as_bytes());
    write("roots/readme.txt", b"no certificate");
    let ca_der = write("ca.der", &der(&authority.pem));
    let chain_der = write("server.der", &der(&issued.pem));

    for server in [
        TlsContext::server().certificate_files(&both, &both),
        TlsContext::server().certificate_files(&chain_der, &both),
    ] {
        let server = Server::answering(&server.build().unwrap());
        for client in [
            TlsContext::client().add_ca_file(&ca_der),
            TlsContext::client().add_ca_file(&roots),
            TlsContext::client().add_ca_der(der(&authority.pem)),
        ] {
            let context = client.only_added_cas().build().unwrap();
            get(&mut server.session(&context), "/").unwrap();
        }
    }
    assert_eq!(Certificate::from_file(&ca_der).unwrap(), Certificate::from_pem(&authority.pem).unwrap());
    let saved = folder.join("saved.pem");
    Certificate::from_pem(&issued.pem).unwrap().save(&saved).unwrap();
    assert_eq!(Certificate::from_file(&saved).unwrap().der(), der(&issued.pem));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_certificate_tells_what_is_in_it() {
    let authority = Authority::new("an authority");
    let issued = authority.issue(0xABCD, &["example.com", "*.example.org", "10.0.0.1", "::1"], |params| {
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        params.not_before = date_time_ymd(2020, 1, 2);
        params.not_after = date_time_ymd(2120, 1, 2);
        params.subject_alt_names.push(rcgen::SanType::Rfc822Name("a@example.com".try_into().unwrap()));
        params.subject_alt_names.push(rcgen::SanType::URI("spiffe://a/b".try_into().unwrap()));
    });
    let certificate = Certificate::from_pem(&issued.pem).unwrap();
    assert_eq!(certificate.version(), 3);
    assert_eq!(certificate.serial_number(), "00abcd");
    assert_eq!(certificate.common_name().as_deref(), Some("a test"));
    assert_eq!(certificate.subject_part("O").as_deref(), Some("Example, Inc."));
    assert_eq!(certificate.subject_part("2.5.4.10").as_deref(), Some("Example, Inc."));
    assert_eq!(certificate.subject_part("OU"), None);
    assert!(certificate.subject().contains("O=Example\\, Inc."), "{}", certificate.subject());
    assert_eq!(certificate.issuer_part("CN").as_deref(), Some("an authority"));
    assert_eq!(
        certificate.names(),
        [
            SubjectName::Dns("example.com".into()),
            SubjectName::Dns("*.example.org".into()),
            SubjectName::Ip("10.0.0.1".parse().unwrap()),
            SubjectName::Ip("::1".parse().unwrap()),
            SubjectName::Email("a@example.com".into()),
            SubjectName::Uri("spiffe://a/b".into()),
        ]
    );
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let from = std::time::SystemTime::UNIX_EPOCH + day * 18_263;
    assert_eq!(certificate.valid_from(), from);
    assert!(certificate.is_valid_at(from) && !certificate.is_valid_at(from - day));
    assert!(certificate.expires_on() > from + day * 36_000);
    assert_eq!(certificate.signature_algorithm(), "ecdsa-with-SHA256");
    assert!(!certificate.is_authority() && !certificate.is_self_issued());
    assert!(Certificate::from_pem(&authority.pem).unwrap().is_authority());
    assert!(certificate.verify_name("sub.example.org") && certificate.verify_name("10.0.0.1"));
    assert!(!certificate.verify_name("10.0.0.2") && !certificate.verify_name("a b"));
    assert_eq!(Certificate::from_pem(certificate.to_pem()).unwrap(), certificate);
    assert_eq!(certificate.fingerprint_sha1().len(), 20);
    assert_eq!(Certificate::all_from_pem(issued.pem + &authority.pem).unwrap().len(), 2);
}

#[test]
fn what_is_no_certificate_is_an_error() {
    for bytes in [&b""[..], b"0", b"0\x80", b"0\x84\xff\xff\xff\xff", &[0x30; 500]] {
        assert_eq!(Certificate::from_der(bytes).unwrap_err().kind(), ErrorKind::Tls);
    }
    let whole = Certificate::from_pem(self_signed(&["a.example"]).pem).unwrap();
    for cut in 0..whole.der().len() {
        assert!(Certificate::from_der(&whole.der()[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn the_session_forgets_nothing_of_its_certificate_s_trust_when_it_is_reused() {
    // A session of TLS that is taken up again shows the certificate it was made with.
    let authority = Authority::new("an authority");
    let issued = authority.server(&["localhost"]);
    let server = Server::answering(&asking(&issued, &authority, VerificationMode::Strict));
    let mut session = server.session(&showing(&authority, &authority.client("somebody")));
    for round in 0..2 {
        let (response, _) = get(&mut session, "/").unwrap();
        assert_eq!(session.tls_session_was_reused(), round == 1);
        assert_eq!(response.headers().get("X-Client"), Some("CN=somebody"));
        assert!(session.server_certificate().unwrap().verify_name("localhost"));
        session.reset();
    }
}
