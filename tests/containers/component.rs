//! The component as it is shipped.

use drover_tests::component;

/// What a node has to fetch and compile, at most.
const MOST_BYTES: u64 = 1_500_000;

#[test]
fn the_component_stays_small() {
    let size = std::fs::metadata(component("container")).unwrap().len();
    assert!(
        size <= MOST_BYTES,
        "it has {size} bytes: `drover plugin inspect` of a build without `strip` says what \
         takes the room"
    );
}
