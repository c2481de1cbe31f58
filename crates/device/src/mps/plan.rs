//! Which group a client joins, and whether it may: decided from records, before anything is done.

use std::collections::BTreeMap;

use cotenant_types::CardId;

use super::compute_mode::Neighbours;
use super::error::MpsError;
use super::folder::{Record, group_name};
use super::limits::MpsClient;

/// Where a client goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joining {
    /// The group's name.
    pub(super) group: String,
    /// The group as it is, without the client; a new one has no client.
    pub(super) record: Record,
    /// Whether its cards must be made ready first.
    pub(super) is_new: bool,
}

/// The group of a client. One that is in it already takes its own place, with its new limits.
pub(super) fn join(
    groups: &BTreeMap<String, Record>,
    client: &MpsClient,
    own_uid: u32,
) -> Result<Joining, MpsError> {
    client.check()?;
    if client.uid != own_uid {
        let (name, uid) = (client.name.clone(), client.uid);
        return Err(MpsError::User { name, uid, own: own_uid });
    }
    let cards = client.card_ids();
    let group = group_name(client.uid, &cards);
    if of_client(groups, &client.name).is_some_and(|name| name != group) {
        return Err(MpsError::Taken(client.name.clone()));
    }
    let uid = client.uid;
    let known = groups.get(&group).cloned();
    let is_new = known.is_none();
    let (daemon, former, clients) = (None, Vec::new(), Vec::new());
    let mut record = known.unwrap_or(Record { uid, cards, daemon, former, clients });
    record.clients.retain(|other| other.name != client.name);
    Ok(Joining { group, record, is_new })
}

/// The group that a client is in.
pub(super) fn of_client<'a>(groups: &'a BTreeMap<String, Record>, name: &str) -> Option<&'a str> {
    let is_in = |record: &Record| record.clients.iter().any(|client| client.name == name);
    groups.iter().find(|(_, record)| is_in(record)).map(|(group, _)| group.as_str())
}

/// Whether another group than this one serves the card.
pub(super) fn neighbours(
    groups: &BTreeMap<String, Record>,
    group: &str,
    card: &CardId,
) -> Neighbours {
    let others = groups.iter().filter(|(name, _)| name.as_str() != group);
    match others.map(|(_, record)| record).any(|record| record.cards.contains(card)) {
        true => Neighbours::Some,
        false => Neighbours::None,
    }
}

#[cfg(test)]
mod tests {
    use cotenant_types::Mebibytes;

    use super::super::limits::ClientCard;
    use super::*;

    fn client(name: &str, cards: &[&str]) -> MpsClient {
        let card = |id: &&str| ClientCard { card: id.parse().unwrap(), memory: Mebibytes(10) };
        let cards = cards.iter().map(card).collect();
        MpsClient { name: name.to_owned(), uid: 7, percent: 50, cards }
    }

    #[test]
    fn clients_with_the_same_cards_share_a_group() {
        let mut groups = BTreeMap::new();
        let mut enter = |name: &str, cards: &[&str]| {
            let client = client(name, cards);
            let mut joining = join(&groups, &client, 7)?;
            joining.record.clients.push(client);
            groups.insert(joining.group.clone(), joining.record.clone());
            Ok::<_, MpsError>((joining.group, joining.is_new, joining.record.clients.len()))
        };
        let (one, is_new, count) = enter("a", &["x"]).unwrap();
        assert!(is_new && count == 1);
        assert_eq!(enter("b", &["x"]).unwrap(), (one.clone(), false, 2));
        // Told twice, it is there once.
        assert_eq!(enter("a", &["x"]).unwrap(), (one.clone(), false, 2));
        assert!(matches!(enter("a", &["y"]), Err(MpsError::Taken(_))));
        let (two, is_new, _) = enter("c", &["x", "y"]).unwrap();
        assert!(is_new && two != one);
        assert_eq!(of_client(&groups, "c"), Some(two.as_str()));
        assert_eq!(of_client(&groups, "d"), None);
        let near = |group: &str, card: &str| neighbours(&groups, group, &card.parse().unwrap());
        assert_eq!(near(&one, "x"), Neighbours::Some);
        assert_eq!(near(&two, "y"), Neighbours::None);
    }

    #[test]
    fn another_user_is_refused() {
        let error = join(&BTreeMap::new(), &client("a", &["x"]), 8).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("user 7") && message.contains("user 8"), "{message}");
    }
}
