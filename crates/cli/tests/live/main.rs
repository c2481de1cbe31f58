//! Tests with real daemons, real jobs and a real browser.

#[cfg(test)]
mod access;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod daemon;
#[cfg(test)]
mod dashboard;
#[cfg(test)]
mod intercepted;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod metering;
#[cfg(test)]
mod partitions;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod prometheus;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod webdriver;
