//! The list of sessions, page by page.

use std::collections::BTreeSet;

use limpet_tests::api::encoded;
use limpet_tests::cluster::Site;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_every_session_of_the_app_once() {
    let site = Site::new("lists", &[], &["a"]);
    let a = site.core("a").await;
    let change = json!({ "set": { "v": encoded("1") } });
    let mut expected = BTreeSet::new();
    for n in 0..50 {
        a.api
            .patch("shop", &format!("S{n}"), "none", &change)
            .await
            .expect("a change");
        a.api
            .patch("other", &format!("S{n}"), "none", &change)
            .await
            .expect("a change");
        expected.insert(format!("S{n}"));
    }
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/sessions?app=shop&limit=7{after}");
        let (status, page) = a.api.get(&path).await.expect("a page");
        assert_eq!(status, 200, "{page}");
        let sessions = page["sessions"].as_array().expect("a list");
        assert!(sessions.len() <= 7, "{page}");
        found.extend(
            sessions
                .iter()
                .filter_map(|one| one["id"].as_str().map(str::to_owned)),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(found.len(), expected.len(), "one of them twice: {found:?}");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
}
