//! `cotenant tenant`

use std::process::ExitCode;

use cotenant_api::{TenantRequest, TenantView};
use cotenant_types::TenantName;

use super::amounts::amount;
use super::failure::Failure;
use super::link::Pool;
use crate::args::pool::{ChangeArgs, QuotaArgs, TenantArgs, TenantCommand};
use crate::commands::Ended;
use crate::console::Console;
use crate::table::{Side, table_of};

/// What stands for no limit.
const NONE: &str = "none";

/// Adds, lists and changes tenants, and makes tokens for them.
pub(super) fn run(arguments: &TenantArgs, console: &Console) -> Ended {
    let pool = Pool::open(&arguments.pool)?;
    match &arguments.command {
        TenantCommand::Add { name, quota } => add(&pool, (name, quota), console)?,
        TenantCommand::List => {
            let list = pool.ask("list tenants", |client| client.tenants())?;
            console.data(&list, || text(&list.tenants))?;
        }
        TenantCommand::Quota { name, changes } => {
            let present = present(&pool, name)?;
            let wanted = changed(&present, changes);
            let tenant = match wanted {
                None => present,
                Some(wanted) => {
                    let what = format!("change the quota of {name}");
                    pool.ask(&what, |client| client.put_tenant(name.as_str(), &wanted))?
                }
            };
            console.data(&tenant, || text(std::slice::from_ref(&tenant)))?;
        }
        TenantCommand::Token { name } => {
            let what = format!("make a token for {name}");
            let token = pool.ask(&what, |client| client.create_token(name.as_str()))?;
            console.data(&token, || token.token.clone())?;
            console.say("it is shown this once, and those the tenant had work no more");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds a tenant that is not there yet: what is there keeps its quota.
fn add(
    pool: &Pool,
    (name, quota): (&TenantName, &QuotaArgs),
    console: &Console,
) -> Result<(), Box<dyn std::error::Error>> {
    let what = format!("add tenant {name}");
    let known = pool.ask(&what, |client| client.tenants())?.tenants;
    if known.iter().any(|tenant| tenant.name == name.as_str()) {
        let because =
            format!("it is there\nhint: change its quota with: cotenant tenant quota {name}");
        return Err(Failure::new(&what, because).into());
    }
    let wanted = TenantRequest {
        parent: quota.parent.as_ref().map(ToString::to_string),
        weight: quota.weight,
        guaranteed_compute: quota.guaranteed_compute.clone(),
        guaranteed_memory: quota.guaranteed_memory.clone(),
        limit_compute: limit(&quota.limit_compute, None),
        limit_memory: limit(&quota.limit_memory, None),
    };
    let tenant = pool.ask(&what, |client| client.put_tenant(name.as_str(), &wanted))?;
    console.data(&tenant, || format!("tenant {name} is added"))?;
    console.say(&format!("a token for it: cotenant tenant token {name}"));
    Ok(())
}

/// A tenant that is there.
fn present(pool: &Pool, name: &TenantName) -> Result<TenantView, Failure> {
    let what = format!("find tenant {name}");
    let tenants = pool.ask(&what, |client| client.tenants())?.tenants;
    match tenants.into_iter().find(|tenant| tenant.name == name.as_str()) {
        Some(tenant) => Ok(tenant),
        None => {
            let because = format!("there is none\nhint: add it with: cotenant tenant add {name}");
            Err(Failure::new(&what, because))
        }
    }
}

/// The present quota with what the flags change, if they change anything. The pool takes quotas
/// whole, so what stays is sent along.
fn changed(present: &TenantView, changes: &ChangeArgs) -> Option<TenantRequest> {
    if *changes == ChangeArgs::default() {
        return None;
    }
    let ChangeArgs { quota: flags, no_parent } = changes;
    let share = |milli: u64| format!("{milli}‰");
    let size = |mib: u64| format!("{mib}MiB");
    let finite = |amount: u64| Some(amount).filter(|&amount| amount != u64::MAX);
    let most = |of: fn(&cotenant_api::AmountView) -> u64| {
        present.limit.as_ref().and_then(|limit| finite(of(limit)))
    };
    let parent = flags.parent.as_ref().map(ToString::to_string);
    let guaranteed = &present.guaranteed;
    Some(TenantRequest {
        parent: parent.or_else(|| present.parent.clone()).filter(|_| !*no_parent),
        weight: flags.weight.or(Some(present.weight)),
        guaranteed_compute: Some(
            flags.guaranteed_compute.clone().unwrap_or_else(|| share(guaranteed.compute_milli)),
        ),
        guaranteed_memory: Some(
            flags.guaranteed_memory.clone().unwrap_or_else(|| size(guaranteed.memory_mib)),
        ),
        limit_compute: limit(&flags.limit_compute, most(|limit| limit.compute_milli).map(share)),
        limit_memory: limit(&flags.limit_memory, most(|limit| limit.memory_mib).map(size)),
    })
}

/// The limit that a flag sets or takes away, or the present one.
fn limit(flag: &Option<String>, present: Option<String>) -> Option<String> {
    match flag {
        Some(word) if word == NONE => None,
        Some(amount) => Some(amount.clone()),
        None => present,
    }
}

fn text(tenants: &[TenantView]) -> String {
    if tenants.is_empty() {
        return "the pool has no tenants".to_owned();
    }
    let columns = [
        ("tenant", Side::Left),
        ("below", Side::Left),
        ("weight", Side::Right),
        ("guaranteed", Side::Right),
        ("limit", Side::Right),
        ("holds", Side::Right),
        ("running", Side::Right),
        ("waiting", Side::Right),
    ];
    let row = |tenant: &TenantView| {
        let none = || "–".to_owned();
        vec![
            tenant.name.clone(),
            tenant.parent.clone().unwrap_or_else(none),
            tenant.weight.to_string(),
            amount(&tenant.guaranteed),
            tenant.limit.as_ref().map_or_else(none, amount),
            amount(&tenant.used),
            tenant.jobs_running.to_string(),
            tenant.jobs_waiting.to_string(),
        ]
    };
    table_of(&columns, &tenants.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use cotenant_api::AmountView;

    use super::*;

    #[test]
    fn a_quota_keeps_what_is_not_named() {
        let present = TenantView {
            name: "law".into(),
            parent: Some("firm".into()),
            weight: 3,
            guaranteed: AmountView { compute_milli: 2505, memory_mib: 40_960 },
            limit: Some(AmountView { compute_milli: 4000, memory_mib: u64::MAX }),
            used: AmountView::default(),
            jobs_running: 0,
            jobs_waiting: 0,
        };
        let check = |changes: ChangeArgs, expected: TenantRequest| {
            assert_eq!(changed(&present, &changes), Some(expected.clone()));
            expected.resolve().unwrap();
        };
        let quota = |quota| ChangeArgs { quota, no_parent: false };
        let kept = TenantRequest {
            parent: Some("firm".into()),
            weight: Some(3),
            guaranteed_compute: Some("2505‰".into()),
            guaranteed_memory: Some("40960MiB".into()),
            limit_compute: Some("4000‰".into()),
            limit_memory: None,
        };
        assert_eq!(changed(&present, &ChangeArgs::default()), None);
        check(
            quota(QuotaArgs { weight: Some(5), ..QuotaArgs::default() }),
            TenantRequest { weight: Some(5), ..kept.clone() },
        );
        let no_limit = QuotaArgs { limit_compute: Some("none".into()), ..QuotaArgs::default() };
        check(
            ChangeArgs { quota: no_limit, no_parent: true },
            TenantRequest { parent: None, limit_compute: None, ..kept.clone() },
        );
        check(
            quota(QuotaArgs { limit_memory: Some("80GiB".into()), ..QuotaArgs::default() }),
            TenantRequest { limit_memory: Some("80GiB".into()), ..kept },
        );
    }
}
