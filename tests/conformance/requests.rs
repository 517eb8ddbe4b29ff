//! The table of requests: what is sent, and who must serve it.

use crate::stage::Stage;

/// Who must serve a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// This worker and no other.
    By(&'static str),
    /// Whom the balancer chooses.
    Anybody,
    /// No worker: the proxy refuses with this status.
    Not(u16),
}

/// One row.
pub struct Row {
    pub what: &'static str,
    pub bytes: Vec<u8>,
    pub served: Served,
}

fn get(path: &str, headers: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("GET {path} HTTP/1.1\r\nhost: limpet.test\r\n").into_bytes();
    for header in headers {
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn cookie(text: &str) -> Vec<u8> {
    format!("cookie: {text}").into_bytes()
}

/// Every row of the table, for the cluster of `stage`.
pub fn all(stage: &Stage) -> Vec<Row> {
    use Served::{Anybody, By, Not};
    let cluster = stage.site.name.as_str();
    let token = |route: &str| format!("LIMPET={}", stage.token(route, 5, cluster));
    let mut forged = token("b");
    let last = forged.pop();
    forged.push(if last == Some('A') { 'B' } else { 'A' });
    let foreign = format!("LIMPET={}", stage.token("b", 5, "bank"));
    let expired = format!("LIMPET={}", stage.token("b", 3600, cluster));
    let old = format!("LIMPET={}", stage.token("b", 300, cluster));
    let a_addr = stage.table.by_route("a").expect("worker a").addr.clone();
    let many: Vec<_> = (0..200).map(|n| format!("c{n}=value-{n}")).collect();
    let many = format!("{}; JSESSIONID=S.b", many.join("; "));
    let spoofed = format!("x-limpet-destination: {a_addr}").into_bytes();
    let big = [b"x-big: ".to_vec(), vec![b'v'; 64 << 10]].concat();
    let large = [b"x-large: ".to_vec(), vec![b'v'; 32 << 10]].concat();
    let row = |what, served, bytes| Row { what, bytes, served };
    let with = |text: &str| get("/echo", &[&cookie(text)]);
    vec![
        row("nothing at all", Anybody, get("/echo", &[])),
        row("a token", By("b"), with(&token("b"))),
        row(
            "a token and nothing to change it",
            By("a"),
            with(&format!("x=1; {}; y=2", token("a"))),
        ),
        row("a token due for renewal", By("b"), with(&old)),
        row("a route in the cookie", By("b"), with("JSESSIONID=S.b")),
        row("a route in the path", By("b"), get("/echo;jsessionid=S.b", &[])),
        row(
            "a route in the path, and a query",
            By("a"),
            get("/echo;jsessionid=S.a?x=1&y=.b", &[]),
        ),
        row(
            "cookie and path in conflict",
            By("b"),
            get("/echo;jsessionid=S.a", &[&cookie("JSESSIONID=S.b")]),
        ),
        row(
            "token and cookie in conflict",
            By("a"),
            with(&format!("{}; JSESSIONID=S.b", token("a"))),
        ),
        row("a forged token", Anybody, with(&forged)),
        row(
            "a forged token and a route",
            By("a"),
            with(&format!("{forged}; JSESSIONID=S.a")),
        ),
        row(
            "a token of another cluster",
            By("a"),
            with(&format!("{foreign}; JSESSIONID=S.a")),
        ),
        row(
            "an expired token",
            By("a"),
            with(&format!("{expired}; JSESSIONID=S.a")),
        ),
        row("a token for nobody", Anybody, with(&token("nobody"))),
        row("an empty token", By("b"), with("LIMPET=; JSESSIONID=S.b")),
        row("a route nobody has", Anybody, with("JSESSIONID=S.nobody")),
        row("a route in the wrong case", Anybody, with("JSESSIONID=S.B")),
        row("a cookie in the wrong case", Anybody, with("jsessionid=S.b")),
        row("an id without a route", Anybody, with("JSESSIONID=S")),
        row("a route with dots", Anybody, with("JSESSIONID=S.b.b")),
        row(
            "the same cookie twice",
            By("b"),
            with("JSESSIONID=S.b; JSESSIONID=S.a"),
        ),
        row(
            "a cookie in a second line",
            By("b"),
            get("/echo", &[b"cookie: x=1", b"cookie: JSESSIONID=S.b"]),
        ),
        row(
            "a parameter in the query",
            Anybody,
            get("/echo?;jsessionid=S.b", &[]),
        ),
        row(
            "an encoded semicolon",
            Anybody,
            get("/echo?x=%3Bjsessionid=S.b", &[]),
        ),
        row(
            "a cookie that is not UTF-8",
            By("b"),
            get("/echo", &[b"cookie: x=\xff\xfe\x80; JSESSIONID=S.b"]),
        ),
        row(
            "an id that is not UTF-8",
            By("b"),
            get("/echo", &[b"cookie: JSESSIONID=\xff\xfe.b; JSESSIONID=S.b"]),
        ),
        row(
            "a header that is not UTF-8",
            By("b"),
            get("/echo", &[b"x-raw: \xe9\xff", b"cookie: JSESSIONID=S.b"]),
        ),
        row("200 cookies", By("b"), with(&many)),
        row(
            "a header of 32 KiB",
            By("b"),
            get("/echo", &[&large, b"cookie: JSESSIONID=S.b"]),
        ),
        row(
            "a header of 64 KiB",
            Not(431),
            get("/echo", &[&big, b"cookie: JSESSIONID=S.b"]),
        ),
        row(
            "a spoofed destination",
            By("b"),
            get("/echo", &[&spoofed, b"cookie: JSESSIONID=S.b"]),
        ),
        row(
            "a spoofed destination, twice",
            By("b"),
            get("/echo", &[&spoofed, &spoofed, b"cookie: JSESSIONID=S.b"]),
        ),
        row(
            "spoofed session headers",
            By("b"),
            get(
                "/echo",
                &[
                    b"limpet-session-id: evil",
                    b"Limpet-Primary: ?1",
                    b"cookie: JSESSIONID=S.b",
                ],
            ),
        ),
        row(
            "a spoofed session id and no session",
            Anybody,
            get("/echo", &[b"limpet-session-id: evil"]),
        ),
        row(
            "a connection header that names ours",
            By("b"),
            get(
                "/echo",
                &[b"connection: limpet-session-id", b"cookie: JSESSIONID=S.b"],
            ),
        ),
    ]
}
