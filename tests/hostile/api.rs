//! Nonsense at the API: a status, a code, a sentence, and nothing changes.

use limpet_tests::api::{Api, encoded};
use limpet_tests::http::{Address, Connection};
use serde_json::{Value, json};

use crate::unharmed::Peace;

/// method, path, body, the status it deserves
fn nonsense() -> Vec<(&'static str, String, Vec<u8>, u16)> {
    let session = |id: &str| format!("/v1/sessions/default/{id}");
    let json = |value: Value| value.to_string().into_bytes();
    let report = |query: &str| format!("/v1/filter/report?{query}");
    vec![
        ("PATCH", session("s"), b"no json".to_vec(), 400),
        ("PATCH", session("s"), b"".to_vec(), 400),
        ("PATCH", session("s"), b"\xff\xfe\x00".to_vec(), 400),
        ("PATCH", session("s"), json(json!([1, 2])), 400),
        ("PATCH", session("s"), json(json!({ "sett": {} })), 400),
        ("PATCH", session("s"), json(json!({ "set": { "a": "***" } })), 400),
        ("PATCH", session("s"), json(json!({ "set": { "a": 5 } })), 400),
        ("PATCH", session("s"), json(json!({ "remove": "a" })), 400),
        (
            "PATCH",
            session("s"),
            json(json!({ "max_inactive": "soon" })),
            400,
        ),
        (
            "PATCH",
            session("s"),
            json(json!({ "set": { "n".repeat(200): encoded("x") } })),
            400,
        ),
        ("PATCH", session("s?ack=most"), json(json!({ "set": {} })), 400),
        (
            "PATCH",
            session(&"i".repeat(300)),
            json(json!({ "set": { "a": encoded("x") } })),
            400,
        ),
        (
            "PATCH",
            session("s"),
            json(json!({ "set": { "a": encoded(vec![7; 16 << 20]) } })),
            413,
        ),
        ("POST", session("s/rename"), json(json!({ "too": "t" })), 400),
        ("POST", session("nobody/touch"), b"".to_vec(), 404),
        ("GET", session("nobody"), b"".to_vec(), 404),
        ("GET", "/v1/sessions?limit=many".into(), b"".to_vec(), 400),
        ("GET", "/v1/nothing".into(), b"".to_vec(), 404),
        ("POST", session("s"), b"{}".to_vec(), 405),
        ("POST", report("ack=all&timeout_ms=100"), b"".to_vec(), 400),
        ("POST", report("ack=all&timeout_ms=100"), vec![0xff; 64], 400),
        (
            "POST",
            report("ack=all&timeout_ms=100"),
            vec![1, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            400,
        ),
        ("POST", report("ack=maybe"), vec![1, 0], 400),
        (
            "GET",
            "/v1/filter/table?after=yesterday".into(),
            b"".to_vec(),
            400,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_gets_a_status_a_code_and_a_sentence() {
    let mut peace = Peace::new("nonsense").await;
    let (_, digest) = peace.a.api.get("/v1/digest").await.expect("a digest");
    let sockets = [
        Api::new(Address::Tcp(peace.a.node.api.clone())),
        Api::new(Address::Unix(peace.a.node.socket.clone())),
    ];
    for api in &sockets {
        for (method, path, body, status) in nonsense() {
            let shown = format!("{method} {path:.60} {:.60}", String::from_utf8_lossy(&body));
            let response = api
                .call(method, &path, &body)
                .await
                .unwrap_or_else(|e| panic!("{shown}: {e}"));
            assert_eq!(response.status, status, "{shown}: {}", response.text());
            let answer = response.json();
            assert!(
                answer["error"].as_str().is_some_and(|code| !code.contains(' ')),
                "{shown}: {answer}"
            );
            assert!(
                answer["message"].as_str().is_some_and(|text| text.contains(' ')),
                "{shown}: {answer}"
            );
        }
    }
    let (_, after) = peace.a.api.get("/v1/digest").await.expect("a digest");
    assert_eq!(after["hash"], digest["hash"], "nonsense changed the table");
    peace.still_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_field_and_a_bad_attribute_are_named() {
    let peace = Peace::new("named").await;
    let cases = [
        (json!({ "sett": {} }), "sett"),
        (json!({ "set": { "cart": "***" } }), "cart"),
        (json!({ "max_inactive": "soon" }), "max_inactive"),
    ];
    for (body, name) in cases {
        let response = peace
            .a
            .api
            .call("PATCH", "/v1/sessions/default/s", body.to_string().as_bytes())
            .await;
        let response = response.expect("an answer");
        let message = response.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(name), "{body}: {message:?} does not name {name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_http_end_their_own_connection_only() {
    let mut peace = Peace::new("nohttp").await;
    let api = Address::Tcp(peace.a.node.api.clone());
    for bytes in [
        &b"\x00\x01\x02\xff\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        &[b'A'; 1 << 20],
    ] {
        let mut connection = Connection::open(&api).await.expect("the port is open");
        match connection.send(bytes).await {
            Ok(response) => assert!(
                (400..500).contains(&response.status),
                "{bytes:.20?}: {}",
                response.status
            ),
            Err(e) => assert_ne!(
                e.kind(),
                std::io::ErrorKind::TimedOut,
                "{bytes:.20?}: left hanging"
            ),
        }
    }
    peace.still_holds().await;
}

#[tokio::test]
async fn the_socket_is_for_its_user_and_group() {
    use std::os::unix::fs::PermissionsExt as _;
    let peace = Peace::new("socket").await;
    let mode = std::fs::metadata(&peace.a.node.socket)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660, "{:o}", mode & 0o777);
    let key = peace.site.pki.dir.join("a.key");
    let mode = std::fs::metadata(key).expect("the key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{:o}", mode & 0o777);
}
