//! What the demo worker shows: the founding test page with its node in its own colour, or the same as JSON.

use serde_json::{Value, json};

use crate::sessions::Attributes;

/// One visit.
pub(crate) struct Page<'a> {
    /// The worker that answers.
    pub(crate) node: &'a str,
    /// The colour of its name.
    pub(crate) color: &'a str,
    /// The session id, without route.
    pub(crate) session: &'a str,
    /// When the session began, as the worker that began it wrote it down.
    pub(crate) created: &'a str,
    /// How often it was here.
    pub(crate) visits: u64,
    /// Everything the session holds.
    pub(crate) attributes: &'a Attributes,
    /// The `limpet-primary` and `limpet-original-session-id` the proxy sent.
    pub(crate) primary: Option<String>,
    /// See `primary`.
    pub(crate) original: Option<String>,
}

impl Page<'_> {
    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let attributes: serde_json::Map<_, _> = self
            .attributes
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(String::from_utf8_lossy(value))))
            .collect();
        json!({
            "node": self.node, "session": self.session, "created": self.created, "visits": self.visits,
            "attributes": attributes, "primary": self.primary, "original": self.original,
        })
    }

    /// For people.
    pub(crate) fn html(&self) -> String {
        let mut rows = String::new();
        let shown_above = |name: &str| matches!(name, "created" | "visits");
        for (name, value) in self.attributes.iter().filter(|(name, _)| !shown_above(name)) {
            let value = String::from_utf8_lossy(value);
            rows.push_str(&format!(
                "<tr><th>{}</th><td>{}</td></tr>\n",
                escaped(name),
                escaped(&value)
            ));
        }
        format!(
            r#"<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{node}</title>
<style>body{{font:1.1em sans-serif;margin:3em;max-width:40em}}h1{{color:{color}}}th{{text-align:left;padding-right:2em}}</style>
</head>
<body>
<h1>Served by {node}</h1>
<table>
<tr><th>Session ID</th><td>{session}</td></tr>
<tr><th>Created on</th><td>{created}</td></tr>
<tr><th>Visits</th><td>{visits}</td></tr>
</table>
<h2>Attributes</h2>
<table>
{rows}</table>
<form method="post" action="/set">
<p><input name="name" placeholder="name" required> <input name="value" placeholder="value"> <button>Set attribute</button></p>
</form>
<p><a href="/">Visit again</a> · <a href="/logout">End this session</a></p>
</body>
</html>
"#,
            node = escaped(self.node),
            color = escaped(self.color),
            session = escaped(self.session),
            created = escaped(self.created),
            visits = self.visits,
        )
    }
}

/// Text as HTML shows it, in element content and in quoted attributes.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Page, escaped};

    #[test]
    fn nothing_a_visitor_typed_becomes_markup() {
        assert_eq!(
            escaped(r#"<a href="x">&'"#),
            "&lt;a href=&quot;x&quot;&gt;&amp;&#39;"
        );
        let attributes = [("<b>".to_owned(), b"<script>".to_vec())].into();
        let page = Page {
            node: "n<",
            color: "\"red",
            session: "s",
            created: "t",
            visits: 1,
            attributes: &attributes,
            primary: None,
            original: None,
        };
        let html = page.html();
        for bad in ["<script>", "<b>", "n<<", "\"red"] {
            assert!(!html.contains(bad), "{bad} in {html}");
        }
    }
}
