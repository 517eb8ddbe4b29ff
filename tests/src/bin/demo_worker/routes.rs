//! What the demo worker answers, path by path.
//!
//! `/` and `/json` count a visit through the core's API; `/headers/...` does the same through response headers, for
//! the proxy's session binder to carry; `/echo` shows what reached the worker, byte for byte.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use hyper::{Request, Response, StatusCode};
use limpet_wire::names;
use serde_json::json;

use crate::options::Options;
use crate::page::Page;
use crate::query;
use crate::sessions::{Attributes, Sessions, fresh_id};

const COOKIE: &str = "JSESSIONID";
/// The header that says how many nodes were known to hold the change when the answer left; 0 where nothing changed.
const COPIES: &str = "x-copies";
/// The header that says what the session is: `fresh`, `known` or `renamed`.
const SESSION: &str = "x-session";
/// The largest form that is read; a larger one is answered 413.
const FORM_MAX: usize = 64 * 1024;
/// The longest `/slow`.
const SLOW_MAX: Duration = Duration::from_secs(60);

type Answer = Response<Full<Bytes>>;

/// The application.
pub(crate) struct App {
    options: Options,
    sessions: Sessions,
}

/// The session of one request.
struct Visit {
    id: String,
    life: Option<String>,
    attributes: Attributes,
    fresh: bool,
}

impl Visit {
    fn state(&self) -> &'static str {
        if self.fresh { "fresh" } else { "known" }
    }
}

impl App {
    pub(crate) fn new(options: Options) -> Self {
        let sessions = Sessions::new(options.core.clone(), &options.route, &options.ack);
        Self { options, sessions }
    }

    /// Answers every request; what goes wrong with the core is a 503 with its sentence.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().split(';').next().unwrap_or("/").to_owned();
        let result = match path.as_str() {
            "/healthz" => Ok(text(StatusCode::OK, "text/plain", "ok\n")),
            "/echo" => Ok(echo(&request)),
            "/set" => self.set(request).await,
            "/login" => self.login(&request).await,
            "/logout" => self.logout(&request).await,
            "/headers/visit" => self.visit_by_headers(&request).await,
            "/headers/logout" => Ok(logout_by_headers()),
            "/slow" => {
                let asked = query::value(request.uri().query(), "ms").and_then(|ms| ms.parse().ok());
                tokio::time::sleep(Duration::from_millis(asked.unwrap_or(0)).min(SLOW_MAX)).await;
                self.visit(&request, true).await
            }
            "/" => self.visit(&request, wants_json(request.headers())).await,
            "/json" => self.visit(&request, true).await,
            _ => Ok(text(StatusCode::NOT_FOUND, "text/plain", "nothing here\n")),
        };
        let mut answer = result.unwrap_or_else(|e| {
            text(
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain",
                &format!("the core of this node: {e}\n"),
            )
        });
        add(&mut answer, "x-worker", &self.options.route);
        answer
    }

    /// The session the proxy named, when the core knows it; a new one otherwise. An id that only the client knows is
    /// never adopted.
    async fn find(&self, headers: &HeaderMap) -> io::Result<Visit> {
        if let Some(id) = header(headers, names::SESSION_ID)
            && let Some(stored) = self.sessions.load(&id).await?
        {
            return Ok(Visit {
                id,
                life: stored.life,
                attributes: stored.attributes,
                fresh: false,
            });
        }
        let attributes = [("created".to_owned(), now_text().into_bytes())].into();
        Ok(Visit {
            id: fresh_id()?,
            life: None,
            attributes,
            fresh: true,
        })
    }

    async fn visit(&self, request: &Request<Incoming>, as_json: bool) -> io::Result<Answer> {
        let mut visit = self.find(request.headers()).await?;
        let visits = number(&visit.attributes, "visits") + 1;
        visit
            .attributes
            .insert("visits".to_owned(), visits.to_string().into_bytes());
        let mut changed = only(&visit.attributes, "visits");
        if visit.fresh {
            changed.clone_from(&visit.attributes);
        }
        let max_inactive = query::value(request.uri().query(), "max_inactive");
        let copies = self
            .sessions
            .save(
                &visit.id,
                visit.life.as_deref(),
                &changed,
                max_inactive.as_deref(),
            )
            .await?;
        let mut answer = self.show(&visit, visits, request.headers(), as_json);
        add(&mut answer, COPIES, &copies.to_string());
        Ok(answer)
    }

    fn show(&self, visit: &Visit, visits: u64, headers: &HeaderMap, as_json: bool) -> Answer {
        let created = visit
            .attributes
            .get("created")
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let page = Page {
            node: &self.options.route,
            color: &self.options.color,
            session: &visit.id,
            created: created.as_deref().unwrap_or("unknown"),
            visits,
            attributes: &visit.attributes,
            primary: header(headers, names::PRIMARY),
            original: header(headers, names::ORIGINAL_SESSION_ID),
        };
        let mut answer = if as_json {
            text(StatusCode::OK, "application/json", &page.json().to_string())
        } else {
            text(StatusCode::OK, "text/html; charset=utf-8", &page.html())
        };
        add(&mut answer, SESSION, visit.state());
        if visit.fresh {
            self.hand_out(&mut answer, &visit.id);
        }
        answer
    }

    fn hand_out(&self, answer: &mut Answer, id: &str) {
        let cookie = format!(
            "{COOKIE}={id}.{}; Path=/; HttpOnly; SameSite=Lax",
            self.options.route
        );
        add(answer, SET_COOKIE.as_str(), &cookie);
    }

    async fn set(&self, request: Request<Incoming>) -> io::Result<Answer> {
        let visit = self.find(request.headers()).await?;
        let mut changed = if visit.fresh {
            visit.attributes.clone()
        } else {
            Attributes::new()
        };
        let Ok(body) = Limited::new(request.into_body(), FORM_MAX).collect().await else {
            return Ok(text(
                StatusCode::PAYLOAD_TOO_LARGE,
                "text/plain",
                "a form of at most 64 KiB, please\n",
            ));
        };
        let form = query::pairs(&String::from_utf8_lossy(&body.to_bytes()));
        let field = |wanted: &str| {
            form.iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.clone())
        };
        if let Some(name) = field("name").filter(|name| !name.is_empty()) {
            changed.insert(name, field("value").unwrap_or_default().into_bytes());
        }
        let copies = self
            .sessions
            .save(&visit.id, visit.life.as_deref(), &changed, None)
            .await?;
        let mut answer = text(StatusCode::SEE_OTHER, "text/plain", "");
        add(&mut answer, LOCATION.as_str(), "/");
        add(&mut answer, SESSION, visit.state());
        add(&mut answer, COPIES, &copies.to_string());
        if visit.fresh {
            self.hand_out(&mut answer, &visit.id);
        }
        Ok(answer)
    }

    /// The session gets another id, as at every login: whoever planted the old one is left without.
    async fn login(&self, request: &Request<Incoming>) -> io::Result<Answer> {
        let visit = self.find(request.headers()).await?;
        if visit.fresh {
            return self.visit(request, true).await;
        }
        let to = fresh_id()?;
        let copies = self.sessions.rename(&visit.id, &to).await?;
        let mut answer = text(StatusCode::SEE_OTHER, "text/plain", "");
        add(&mut answer, LOCATION.as_str(), "/");
        add(&mut answer, SESSION, "renamed");
        add(&mut answer, COPIES, &copies.to_string());
        self.hand_out(&mut answer, &to);
        Ok(answer)
    }

    async fn logout(&self, request: &Request<Incoming>) -> io::Result<Answer> {
        let visit = self.find(request.headers()).await?;
        let copies = match visit.fresh {
            true => 0,
            false => self.sessions.delete(&visit.id).await?,
        };
        let mut answer = text(
            StatusCode::OK,
            "text/html; charset=utf-8",
            "<p>Ended. <a href=\"/\">Start again</a></p>",
        );
        add(&mut answer, COPIES, &copies.to_string());
        add(
            &mut answer,
            SET_COOKIE.as_str(),
            &format!("{COOKIE}=; Path=/; Max-Age=0"),
        );
        Ok(answer)
    }

    /// The same visit without a single write to the core: the changes leave as headers of the answer.
    async fn visit_by_headers(&self, request: &Request<Incoming>) -> io::Result<Answer> {
        let mut visit = self.find(request.headers()).await?;
        let visits = number(&visit.attributes, "visits") + 1;
        visit
            .attributes
            .insert("visits".to_owned(), visits.to_string().into_bytes());
        let mut answer = self.show(&visit, visits, request.headers(), true);
        let changed = if visit.fresh {
            visit.attributes.clone()
        } else {
            only(&visit.attributes, "visits")
        };
        let members: Vec<_> = changed
            .iter()
            .map(|(name, value)| format!("{name}=:{}:", STANDARD.encode(value)))
            .collect();
        add(&mut answer, names::SESSION_SET, &members.join(", "));
        if let Some(gone) = query::value(request.uri().query(), "remove") {
            add(&mut answer, names::SESSION_REMOVE, &format!("\"{gone}\""));
        }
        if let Some(seconds) = query::value(request.uri().query(), "max_inactive") {
            add(&mut answer, names::SESSION_MAX_INACTIVE, &seconds);
        }
        Ok(answer)
    }
}

fn logout_by_headers() -> Answer {
    let mut answer = text(StatusCode::OK, "text/plain", "ended\n");
    add(&mut answer, names::SESSION_INVALIDATE, "?1");
    add(
        &mut answer,
        SET_COOKIE.as_str(),
        &format!("{COOKIE}=; Path=/; Max-Age=0"),
    );
    answer
}

/// Every header as it arrived, values in base64 because they may be any bytes.
fn echo(request: &Request<Incoming>) -> Answer {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), STANDARD.encode(value.as_bytes())]))
        .collect();
    let body = json!({ "target": request.uri().to_string(), "headers": headers });
    text(StatusCode::OK, "application/json", &body.to_string())
}

fn text(status: StatusCode, kind: &'static str, body: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// Adds a header; a value that cannot be one (a route with a line break) is left out.
fn add(answer: &mut Answer, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (
        hyper::header::HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_str(value),
    ) {
        answer.headers_mut().append(name, value);
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn wants_json(headers: &HeaderMap) -> bool {
    header(headers, ACCEPT.as_str()).is_some_and(|accept| accept.starts_with("application/json"))
}

fn only(attributes: &Attributes, name: &str) -> Attributes {
    attributes
        .iter()
        .filter(|(key, _)| *key == name)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn number(attributes: &Attributes, name: &str) -> u64 {
    let text = attributes
        .get(name)
        .and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Seconds since 1970, as UTC date and time (days to civil date after Howard Hinnant's published algorithm).
fn now_text() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, second) = (now / 86_400 + 719_468, now % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}
