//! A browser's worth of client: one keep-alive connection and a cookie jar. It never retries a request.

use std::collections::BTreeMap;
use std::io;

use crate::http::{Address, Connection, Response};

/// A client of one server.
pub struct Client {
    to: Address,
    connection: Option<Connection>,
    /// Cookies by name, as the server last set them.
    pub cookies: BTreeMap<String, String>,
}

impl Client {
    /// A client without cookies.
    #[must_use]
    pub fn new(to: Address) -> Self {
        Self {
            to,
            connection: None,
            cookies: BTreeMap::new(),
        }
    }

    /// GET with the jar's cookies and these further headers.
    ///
    /// # Errors
    /// Whatever the connection says; nothing is tried twice.
    pub async fn get_with(&mut self, path: &str, headers: &[(&str, &str)]) -> io::Result<Response> {
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: limpet.test\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            head.push_str(&format!("cookie: {}\r\n", pairs.join("; ")));
        }
        head.push_str("\r\n");
        self.raw(head.as_bytes()).await
    }

    /// GET with the jar's cookies.
    ///
    /// # Errors
    /// As [`Client::get_with`].
    pub async fn get(&mut self, path: &str) -> io::Result<Response> {
        self.get_with(path, &[]).await
    }

    /// Sends bytes as they stand; the jar learns from the answer.
    ///
    /// # Errors
    /// As [`Client::get_with`].
    pub async fn raw(&mut self, request: &[u8]) -> io::Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.to).await?,
        };
        let response = connection.send(request).await?;
        if connection.reusable() {
            self.connection = Some(connection);
        }
        self.learn(&response);
        Ok(response)
    }

    /// The text after the first dot of a cookie: the route of a session id.
    #[must_use]
    pub fn route_of(&self, cookie: &str) -> Option<&str> {
        self.cookies.get(cookie)?.split_once('.').map(|(_, route)| route)
    }

    fn learn(&mut self, response: &Response) {
        for line in response.all("set-cookie") {
            let mut parts = line.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            if parts.any(|attribute| attribute.eq_ignore_ascii_case("max-age=0")) {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}
