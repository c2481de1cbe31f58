//! Machines: listed, drained, and taken into use again.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use cotenant_api::{NodeList, NodeRequest, NodeView};
use cotenant_sched::Event;
use cotenant_types::{CardId, JobId, NodeName};

use super::auth::Caller;
use super::problem::{Body, Fault, InPath};
use super::shared::Shared;

pub(super) async fn list(
    State(shared): State<Shared>,
    _caller: Caller,
) -> Result<Json<NodeList>, Fault> {
    Ok(Json(NodeList { nodes: all(&shared).await? }))
}

pub(super) async fn set(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(name): InPath<String>,
    Body(request): Body<NodeRequest>,
) -> Result<Json<NodeView>, Fault> {
    caller.must_operate()?;
    let node: NodeName = name.parse().map_err(Fault::bad)?;
    shared.event(Event::DrainSet { node, is_draining: request.draining }).await?;
    let found = all(&shared).await?.into_iter().find(|node| node.name == name);
    found.map(Json).ok_or_else(|| Fault::unavailable("the machine is not there yet"))
}

async fn all(shared: &Shared) -> Result<Vec<NodeView>, Fault> {
    let read = shared.read(|reader| Ok((reader.cards()?, reader.holders()?, reader.draining()?)));
    let (cards, holders, draining) = read.await?;
    let draining: BTreeSet<String> = draining.into_iter().collect();
    let mut nodes: BTreeMap<String, NodeView> = BTreeMap::new();
    let mut node_of: BTreeMap<&CardId, &NodeName> = BTreeMap::new();
    for record in &cards {
        let name = record.card.node.to_string();
        node_of.insert(&record.card.id, &record.card.node);
        let node = nodes.entry(name.clone()).or_insert_with(|| NodeView {
            draining: draining.contains(&name),
            name,
            cards: 0,
            cards_lost: 0,
            jobs: 0,
        });
        node.cards += u64::from(!record.is_lost);
        node.cards_lost += u64::from(record.is_lost);
    }
    let mut seen: BTreeSet<(JobId, &NodeName)> = BTreeSet::new();
    for job in &holders {
        for slice in job.placement().into_iter().flat_map(|placement| placement.slices()) {
            let Some(&node) = node_of.get(&slice.card) else { continue };
            if seen.insert((job.id, node))
                && let Some(view) = nodes.get_mut(node.as_str())
            {
                view.jobs += 1;
            }
        }
    }
    Ok(nodes.into_values().collect())
}
