//! Does limpet-host do the main job? The nine steps, through it.

mod late_reports;
#[path = "../scenario/nine_steps.rs"]
mod nine_steps;

use limpet_tests::proxy::{HostPlan, Proxy};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nine_steps_through_limpet_host() {
    nine_steps::tell(async |site| {
        Proxy::host(&HostPlan::new(&site.node("edge").socket_url()), &site.scratch).await
    })
    .await;
}
