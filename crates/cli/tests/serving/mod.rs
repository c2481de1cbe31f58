//! Tests of `cotenant serve`, by what they look at.

mod adapters;
mod adaptive;
mod clients;
mod documents;
mod errors;
mod experiments;
mod full;
mod hostile;
mod kills;
mod routes;
mod server;
mod tenants;
