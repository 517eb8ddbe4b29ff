//! Do cores keep what a cluster promises among themselves? No proxy, no worker: nodes, sessions, links.

mod absence;
mod backup;
mod clocks;
mod conditional;
mod copies;
mod counters;
mod cuts;
mod discovery;
mod domains;
mod duplicates;
mod events;
mod joining;
mod leaving;
mod lifetime;
mod links;
mod lists;
mod names;
mod pauses;
mod reload;
mod rotation;
mod slow;
mod standing;
mod starting;
mod transfers;
mod upgrades;
mod workers;
