//! The real server as its clients see it: a tiny model, a few adapters, HTTP over loopback.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

#[cfg(test)]
mod adapters;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod server;
#[cfg(test)]
mod tenants;
