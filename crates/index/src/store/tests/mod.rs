//! Tests of the whole store: it beside a plain model, on a disk that fails.

mod behind;
mod crash;
mod faulty;
mod model;
mod odd;
