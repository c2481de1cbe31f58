//! Pages are read as they were written, and anything else is refused.

use proptest::array::uniform16;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::{Bytes, Policy, Share, Span};

fn page() -> impl Strategy<Value = LimitPage> {
    let share = (0u32..=1000).prop_map(|milli| Share::from_per_mille(milli).unwrap());
    let policy = prop_oneof![Just(Policy::Fixed), Just(Policy::Burst), Just(Policy::Contend)];
    let card = (
        (uniform16(any::<u8>()), option::of(any::<u64>()), any::<u64>(), policy),
        (share.clone(), share, any::<(u32, u32, u32)>(), any::<(u64, u64, u64)>()),
    );
    let card = card.prop_map(|(first, second)| CardLimit {
        uuid: first.0,
        memory: first.1.map(Bytes),
        overhead: Bytes(first.2),
        policy: first.3,
        compute: Span { request: second.0, limit: second.1 },
        neighbours: Neighbours {
            count: second.2.0,
            active_milli: second.2.1,
            elastic_milli: second.2.2,
        },
        hold_until_ns: second.3.0,
        seen_busy_ns: second.3.1,
        seen_at_ns: second.3.2,
    });
    let on_failure = prop_oneof![Just(OnFailure::PassThrough), Just(OnFailure::Refuse)];
    let shown = prop_oneof![Just(ShownProcesses::Own), Just(ShownProcesses::All)];
    (on_failure, shown, vec(card, 0..5)).prop_map(|(on_failure, shown, cards)| LimitPage {
        on_failure,
        shown,
        cards,
    })
}

proptest! {
    #[test]
    fn pages_are_read_as_they_were_written(page in page(), sequence in any::<u32>()) {
        let words = page.to_words(u64::from(sequence) * 2);
        prop_assert_eq!(LimitPage::from_words(&words), Ok(page.clone()));
        let mut file = words;
        file.resize(LimitWord::COUNT, 0);
        prop_assert_eq!(LimitPage::from_words(&file), Ok(page));
    }

    #[test]
    fn no_changed_bit_goes_unnoticed(page in page(), at in any::<usize>(), bit in 0u32..64) {
        let mut words = page.to_words(2);
        let at = at % words.len();
        words[at] ^= 1 << bit;
        // The sequence number says when, not what.
        let is_seen = at != LimitWord::SEQUENCE || bit == 0;
        prop_assert_eq!(LimitPage::from_words(&words).is_err(), is_seen, "word {}", at);
    }

    #[test]
    fn any_words_are_read_or_refused(words in vec(any::<u64>(), 0..40)) {
        assert!(LimitPage::from_words(&words).is_err());
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let page =
        LimitPage { on_failure: OnFailure::Refuse, shown: ShownProcesses::All, cards: Vec::new() };
    let check = |at: usize, value: u64, expected: LimitPageError| {
        let mut words = page.to_words(4);
        words[at] = value;
        assert_eq!(LimitPage::from_words(&words), Err(expected));
    };
    check(LimitWord::MAGIC, 1, LimitPageError::Magic);
    check(LimitWord::VERSION, 9, LimitPageError::Version(9));
    check(LimitWord::SEQUENCE, 5, LimitPageError::Unfinished);
    check(LimitWord::CARDS, 65, LimitPageError::Cards(65));
    check(LimitWord::CARDS, 3, LimitPageError::Short(16));
    check(LimitWord::SHOWN, 0, LimitPageError::Checksum);
    assert_eq!(LimitPage::from_words(&[]), Err(LimitPageError::Short(0)));
}

#[test]
fn a_page_with_more_shares_than_the_whole_is_refused() {
    let card = CardLimit {
        uuid: [0; 16],
        memory: None,
        overhead: Bytes(0),
        policy: Policy::Fixed,
        compute: Span { request: Share::ZERO, limit: Share::WHOLE },
        neighbours: Neighbours::default(),
        hold_until_ns: 0,
        seen_busy_ns: 0,
        seen_at_ns: 0,
    };
    let page = LimitPage {
        on_failure: OnFailure::PassThrough,
        shown: ShownProcesses::Own,
        cards: vec![card],
    };
    let mut words = page.to_words(0);
    let at = LimitWord::used(0) + 6;
    words[at] = 1001;
    words[LimitWord::CHECKSUM] = seal::checksum(&words[LimitWord::CARDS..]);
    let value = LimitPageError::Value { word: at, value: 1001 };
    assert_eq!(LimitPage::from_words(&words), Err(value));
}

/// The two halves of a usage page do not overlap, whatever is added to either.
#[test]
fn every_word_of_a_usage_page_has_one_meaning() {
    let last_card = UsageLayout::card(CARDS_MAX - 1, UsageLayout::CARD_STRIDE - 1);
    const { assert!(HeaderWord::FAILURES < UsageLayout::CARD_FIRST) };
    assert_eq!(last_card + 1, UsageLayout::slot(0, 0));
    const { assert!(SlotWord::NAMESPACE < SlotWord::HELD) };
    const { assert!(CardWord::UNMEASURED < UsageLayout::CARD_STRIDE) };
    let last_slot =
        UsageLayout::slot(UsageLayout::SLOTS_MAX - 1, SlotWord::PENDING + CARDS_MAX - 1);
    assert_eq!(last_slot + 1, UsageLayout::COUNT);
}
