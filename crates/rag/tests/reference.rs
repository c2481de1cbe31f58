//! `docs/workspace.md` says what the workspace's table of keys says. `UPDATE_EXPECT=1 cargo test -p
//! cotenant-rag --test reference` writes it anew.

use cotenant_rag::workspace::reference;
use expect_test::expect_file;

#[test]
fn the_workspace_reference_is_fresh() {
    expect_file!["../../../docs/workspace.md"].assert_eq(&reference());
}
