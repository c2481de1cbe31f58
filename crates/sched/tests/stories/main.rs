//! Stories of a pool, as text: each line that begins with `> ` is carried out, and what stands
//! below it is what it printed. `UPDATE_EXPECT=1 cargo test -p cotenant-sched` writes them anew.

#[cfg(test)]
mod world;

use expect_test::expect_file;

use world::World;

fn check(name: &str, file: expect_test::ExpectFile) {
    let path = format!("{}/tests/stories/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("each story is a file");
    let mut world = World::default();
    let mut told = String::new();
    let mut ran = 0;
    for line in text.lines() {
        match line.strip_prefix("> ") {
            Some(words) => {
                told.push_str(line);
                told.push('\n');
                told.push_str(&world.run(words));
                ran += 1;
            }
            None if line.starts_with('#') || line.is_empty() => {
                told.push_str(line);
                told.push('\n');
            }
            None => {}
        }
    }
    assert!(ran > 0, "the story tells nothing");
    file.assert_eq(&told);
}

macro_rules! stories {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name), expect_file![concat!(stringify!($name), ".txt")]);
        })*
    };
}

stories! {
    a_gang_makes_room
    a_job_lives
    answers_are_lost
    backfill_never_delays_the_head
    cards_are_not_ready
    cards_come_and_go
    gangs_start_together
    idle_slices_are_taken_back
    members_stay_near
    neighbours_give_back
    partitions_are_cut
    preferences_are_done_without
    quotas_are_lent_and_returned
    resized_while_running
    the_fewest_and_youngest_make_room
    what_is_foretold_must_fit
    what_is_taken_is_worth_least
}
