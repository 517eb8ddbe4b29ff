//! Does real Envoy, running the documented configuration, do the main job? The nine steps, through it.

#[path = "../scenario/nine_steps.rs"]
mod nine_steps;

use limpet_tests::envoy::fitted_to;
use limpet_tests::ports;
use limpet_tests::proxy::Proxy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nine_steps_through_envoy() {
    nine_steps::tell(async |site| {
        let listen = ports::free_addr();
        Proxy::envoy(&fitted_to(site, &listen), &listen, &site.scratch).await
    })
    .await;
}
