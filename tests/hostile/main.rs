//! Can anybody harm a cluster from outside? Strangers at the cluster port, nonsense in files, bodies and frames.

mod api;
mod config;
mod frames;
mod tls;
mod unharmed;
