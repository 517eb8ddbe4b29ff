//! Do both proxies give the same answers to the same bytes? The same filters run in Envoy and in limpet-host; what a
//! request does must not depend on which one it meets.

mod deltas;
mod requests;
mod same;
mod stage;
