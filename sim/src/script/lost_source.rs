//! A Primary whose own copy is incomplete, and whose source goes on alone and dies: it takes a Primary
//! that is the target, which hardly any seed draws at that moment, so it is a script.

use super::{Failed, Script};
use replicator::{OnNoData, Options};
use types::Span;

/// The Primary whose copy is incomplete.
const TARGET: usize = 0;
const SOURCE: usize = 1;

/// Where the resync has not come to by the first moments, so that a write need not wait for it.
pub const FAR: u64 = 2000;

impl Script {
    /// Both nodes are Primary, and the first has given its copy up; with
    /// `on-no-data-accessible suspend-io`, or as `change` will have it.
    ///
    /// # Panics
    /// If an order is refused.
    pub fn with_a_primary_target(change: impl FnOnce(&mut Options)) -> Self {
        let mut script = Self::of(true, true, |options| {
            options.on_no_data_accessible = OnNoData::SuspendIo;
            change(options);
        });
        script.start_both();
        for node in [TARGET, SOURCE] {
            script.promote(node).expect("nothing is in the way of it");
        }
        script.invalidate(TARGET, false).expect("the other copy is good");
        script.connected();
        script
    }
}

/// The source goes on alone, writes over what is in flight at the target, dies, and is back; of each
/// number it is another block.
///
/// # Panics
/// If what was in flight is done again, or not answered with an error.
pub fn source_went_on_alone(number: u64) {
    let mut script = Script::with_a_primary_target(|_| {});
    let block = FAR + number % 500;
    script.part();
    let lost = script.ask_write(TARGET, block, 30);
    script.pass(Span::secs(100));
    script.write(SOURCE, block, 40).expect("it has a good copy");
    script.flush(SOURCE).expect("it has a good copy");
    script.kill(SOURCE);
    script.heal();
    script.start(SOURCE);
    assert_eq!(script.wait(lost), Err(Failed), "what somebody wrote over is not done again");
    script.in_sync();
    assert_eq!(script.read(TARGET, block), Ok(40), "it does not rise again");
    script.linearizable();
}
