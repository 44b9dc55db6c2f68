//! The tasks of a keyed reduce, which are its partials: taken back, put together, and cut by cut behind one another.

use super::reduce::Groups;
use super::stage::{CpuTask, foreign};
use crate::error::Result;
use crate::kernels::{AddedCuts, Partial, StageTask};

/// All groups of a keyed reduce in one task, in the order of the partials; none without partials. Tasks that are not needed
/// any more go to `keep`.
pub(super) fn combined(partials: Vec<Partial>, keep: impl Fn(Box<CpuTask>)) -> Result<Option<Box<CpuTask>>> {
    let mut tasks = reduce_tasks(partials)?;
    let mut groups = tasks.iter_mut().map(|task| task.groups()).collect::<Result<Vec<_>>>()?;
    Groups::combine(&mut groups)?;
    let mut tasks = tasks.into_iter();
    let all = tasks.next();
    tasks.for_each(keep);
    Ok(all)
}

/// Takes the tasks of a keyed reduce back.
#[expect(clippy::vec_box, reason = "they are kept in these boxes for the next batch")]
pub(super) fn reduce_tasks(partials: Vec<Partial>) -> Result<Vec<Box<CpuTask>>> {
    let one = |partial| match partial {
        Partial::Groups(any) => any.downcast().map_err(|_| foreign()),
        Partial::Rows(_) => Err(foreign()),
    };
    partials.into_iter().map(one).collect()
}

/// Adds cuts to the first of them, and gives what there is then, in order, and the tasks that have handed theirs over.
pub(super) fn add_cuts(cuts: Vec<Partial>) -> Result<AddedCuts> {
    let mut tasks = reduce_tasks(cuts)?.into_iter();
    let Some(mut before) = tasks.next() else { return Ok((Vec::new(), Vec::new())) };
    let (mut apart, mut free): (Vec<Partial>, Vec<Box<dyn StageTask>>) = (Vec::new(), Vec::new());
    for mut task in tasks {
        let groups = task.groups()?;
        // Behind a cut that stays apart, all others do.
        if apart.is_empty() && groups.hands_over() && before.groups()?.hands_over() {
            groups.hand_over(before.groups()?)?;
            free.push(task);
        } else {
            apart.push(Partial::Groups(task));
        }
    }
    Ok((std::iter::once(Partial::Groups(before)).chain(apart).collect(), free))
}
