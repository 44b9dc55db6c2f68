// What the shaders that pick the best groups share: where the list of groups lies, and the places in `found`. Tier: all.

const PASS: u32 = 0u;        // digits that are known, of eight
const PREFIX_LOW: u32 = 1u;  // these digits: the least rank that is picked, once all are known that must be
const PREFIX_HIGH: u32 = 2u;
const ABOVE: u32 = 3u;       // groups whose ranks are above all with these digits
const DONE: u32 = 4u;        // whether no more digits are needed
const PICKED: u32 = 5u;      // groups that are picked; beyond the room there is, they are only counted
const UNSURE: u32 = 6u;      // whether a sum may not fit its type: the host looks at all groups then
const BINS: u32 = 8u;        // of each digit, how many ranks have it
const ROWS_OUT: u32 = 264u;  // for each group that is picked its place in the list, and its words

// The group at a place in the list.
fn best_group(item: u32) -> u32 {
    if batch[2] == 0u {
        return item;
    }
    return batch[batch[2] + item];
}
