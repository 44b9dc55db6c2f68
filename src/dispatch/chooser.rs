//! Which of two devices is to do a piece of work: the one that is expected to take less time.
//!
//! What a device takes is foretold by costs that were calibrated, and corrected by what it has really taken, for each
//! class of sizes: of the latest times the third best counts, so that those that were disturbed do not. The device that
//! is not chosen is tried again now and then, since machines change; what that costs is paid from a small share of the
//! time that was spent on the work of that class, so that it can never cost much more. No clock and no device is needed
//! here: the tests play with made-up ones.

/// The share of the time of a class of sizes that may be spent on trying the other device.
const TRIED_SHARE: f64 = 0.015;

/// Pieces of work after which the other device is tried at the earliest.
const TRIED_EVERY: u32 = 16;

/// Times that are remembered of each device and class.
const REMEMBERED: usize = 7;

/// Which of them counts, from the best one on: a few may be disturbed, and a lucky one says little.
const COUNTS: usize = 2;

/// How much less than calibrated an unmeasured class is expected to take at least.
const HOPE_MAX: f64 = 0.25;

/// Pieces of work that go to the CPU after trouble on the GPU, at most: as many as one at first, then twice as many each time.
const PAUSE_MAX: u32 = 64;

/// Classes of sizes: one for each power of two of rows.
const CLASSES: usize = 48;

/// One of the two devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Cpu,
    Gpu,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Cpu => Self::Gpu,
            Self::Gpu => Self::Cpu,
        }
    }
}

/// A piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) rows: u64,
    /// Of the columns that are read, as they lie.
    pub(super) bytes: u64,
    /// Of the same as they travel to a device.
    pub(super) sent: u64,
}

impl Work {
    fn class(self) -> usize {
        (self.rows.max(1).ilog2() as usize).min(CLASSES - 1)
    }
}

/// Seconds that a device is expected to take before it has been measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Costs {
    /// Whatever the work.
    pub(super) fixed: f64,
    pub(super) per_row: f64,
    pub(super) per_byte: f64,
    pub(super) per_sent: f64,
}

impl Costs {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn seconds(&self, work: Work) -> f64 {
        let of_bytes = self.per_byte * work.bytes as f64 + self.per_sent * work.sent as f64;
        let seconds = self.fixed + self.per_row * work.rows as f64 + of_bytes;
        seconds.max(1e-9)
    }
}

/// What was chosen for a piece of work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Choice {
    pub(super) side: Side,
    /// Seconds that the CPU and the GPU are expected to take.
    pub(super) expected: [f64; 2],
    /// Whether this class of sizes was measured on the CPU and on the GPU.
    pub(super) measured: [bool; 2],
    /// Whether the slower one was chosen, to see what it takes.
    pub(super) is_trial: bool,
    /// Whether the CPU was chosen because the GPU is in trouble, whatever is expected.
    pub(super) in_trouble: bool,
    class: usize,
}

impl Choice {
    /// Seconds that the chosen one is expected to take.
    pub(super) fn expected_of(&self, side: Side) -> f64 {
        self.expected[side as usize]
    }

    /// The same, for a GPU that cannot be asked.
    pub(super) fn without_gpu(self) -> Self {
        Self { side: Side::Cpu, is_trial: false, in_trouble: true, ..self }
    }
}

/// Chooses, and learns from what came of it.
#[derive(Debug)]
pub(super) struct Chooser {
    costs: [Costs; 2],
    classes: Vec<Class>,
    pause: Pause,
}

/// Pieces of work that the GPU is left alone for after trouble, and how many it will be the next time.
#[derive(Debug, Clone, Copy)]
struct Pause {
    left: u32,
    next: u32,
}

const NO_PAUSE: Pause = Pause { left: 0, next: 1 };

/// What is known of works of one class of sizes.
#[derive(Debug, Clone, Default)]
struct Class {
    times: [Times; 2],
    /// Seconds that may be spent on trials; below zero after a trial that took longer than foreseen.
    allowance: f64,
    since_trial: u32,
    /// Whether a trial is under way: other threads need not try, too.
    is_tried: bool,
}

/// How long a device has taken lately, each time as a multiple of what its costs foretell.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    factors: [f64; REMEMBERED],
    count: usize,
}

impl Times {
    fn add(&mut self, factor: f64) {
        self.factors[self.count % REMEMBERED] = factor;
        self.count += 1;
    }

    /// Of few the lesser middle one, since disturbances only add.
    fn factor(&self) -> Option<f64> {
        let mut known = self.factors;
        let known = &mut known[..self.count.min(REMEMBERED)];
        known.sort_by(f64::total_cmp);
        known.get((known.len().saturating_sub(1) / 2).min(COUNTS)).copied()
    }

    fn latest(&self) -> Option<f64> {
        self.count.checked_sub(1).map(|last| self.factors[last % REMEMBERED])
    }
}

impl Chooser {
    /// With the costs of the CPU and of the GPU.
    pub(super) fn new(cpu: Costs, gpu: Costs) -> Self {
        Self { costs: [cpu, gpu], classes: vec![Class::default(); CLASSES], pause: NO_PAUSE }
    }

    /// What would be chosen now. Nothing is noted.
    pub(super) fn peek(&self, work: Work) -> Choice {
        let class = work.class();
        let known = &self.classes[class];
        let expected = [Side::Cpu, Side::Gpu].map(|side| self.expected(side, work));
        let measured = [Side::Cpu, Side::Gpu].map(|side| known.times[side as usize].count > 0);
        let side = if expected[Side::Gpu as usize] < expected[Side::Cpu as usize] { Side::Gpu } else { Side::Cpu };
        let is_trial = self.is_trial_due(side, work, &expected);
        let side = if is_trial { side.other() } else { side };
        let choice = Choice { side, expected, measured, is_trial, in_trouble: false, class };
        if self.pause.left > 0 { choice.without_gpu() } else { choice }
    }

    /// What is known of a piece of work that this device is given, whatever would be chosen.
    pub(super) fn given(&self, side: Side, work: Work) -> Choice {
        Choice { side, is_trial: false, in_trouble: false, ..self.peek(work) }
    }

    /// Chooses for a piece of work that is done next; [`Chooser::learn`] has to be told what came of it.
    pub(super) fn choose(&mut self, work: Work) -> Choice {
        let choice = self.peek(work);
        self.classes[choice.class].is_tried |= choice.is_trial;
        choice
    }

    /// The work is done, in so many seconds; none if its time says nothing of the next one's.
    pub(super) fn learn(&mut self, choice: &Choice, work: Work, seconds: Option<f64>) {
        self.end_trial(choice);
        match choice.side {
            Side::Cpu if choice.in_trouble => self.pause.left = self.pause.left.saturating_sub(1),
            Side::Cpu => {}
            Side::Gpu => self.pause = NO_PAUSE,
        }
        let Some(seconds) = seconds.filter(|seconds| seconds.is_finite()) else { return };
        let factor = seconds.max(1e-9) / self.costs[choice.side as usize].seconds(work);
        let least = self.expected(choice.side.other(), work);
        // Of a device that is known, what goes far beyond it is a disturbance that may meet any work.
        let is_known = self.classes[work.class()].times[choice.side as usize].count > 0;
        let charged = if is_known { seconds.min(2.0 * self.expected(choice.side, work)) } else { seconds };
        let known = &mut self.classes[work.class()];
        known.times[choice.side as usize].add(factor);
        if choice.is_trial {
            known.allowance -= (charged - least).max(0.0);
        } else {
            known.allowance += TRIED_SHARE * seconds;
            known.since_trial = known.since_trial.saturating_add(1);
        }
    }

    /// The GPU did not finish the work, and the CPU did it in its stead: how long that took says nothing of either. What
    /// comes next goes to the CPU, so that trouble that stays is not met with each piece.
    pub(super) fn fell_back(&mut self, choice: &Choice) {
        self.end_trial(choice);
        let Pause { next, .. } = self.pause;
        self.pause = Pause { left: next, next: (2 * next).min(PAUSE_MAX) };
    }

    fn end_trial(&mut self, choice: &Choice) {
        if choice.is_trial {
            self.classes[choice.class].is_tried = false;
            self.classes[choice.class].since_trial = 0;
        }
    }

    /// Seconds that a device is expected to take.
    fn expected(&self, side: Side, work: Work) -> f64 {
        let foretold = self.costs[side as usize].seconds(work);
        let class = work.class();
        let factor_of = |class: usize| self.classes[class].times[side as usize].factor();
        if let Some(factor) = factor_of(class) {
            return foretold * factor;
        }
        // The nearest class that was measured; of two that are as near, the larger one.
        let Some((distance, near, factor)) = (1..CLASSES)
            .flat_map(|distance| [(distance, class.checked_add(distance)), (distance, class.checked_sub(distance))])
            .filter_map(|(distance, near)| Some((distance, near.filter(|&near| near < CLASSES)?)))
            .find_map(|(distance, near)| Some((distance, near, factor_of(near)?)))
        else {
            return foretold;
        };
        let scale = |count: u64| if near > class { count << distance } else { count >> distance };
        let there = Work { rows: scale(work.rows), bytes: scale(work.bytes), sent: scale(work.sent) };
        let there = self.costs[side as usize].seconds(there);
        // Either all of it takes so many times as long, or something takes so much longer whatever the size. Who hopes
        // for the better finds out by one trial; who fears the worse would never know.
        let more = foretold + there * (factor - 1.0);
        (foretold * factor).min(more).max(foretold * HOPE_MAX.min(factor))
    }

    /// Whether the other device is to be tried instead of the one that is expected to be faster.
    fn is_trial_due(&self, faster: Side, work: Work, expected: &[f64; 2]) -> bool {
        let known = &self.classes[work.class()];
        let slower = faster.other();
        let extra = expected[slower as usize] - expected[faster as usize];
        let foretold = self.costs[slower as usize].seconds(work);
        // If the latest trial was faster after all, another one follows at once and decides.
        let latest = known.times[slower as usize].latest();
        let surprised = latest.is_some_and(|factor| foretold * factor < expected[faster as usize]);
        let is_time = surprised || known.since_trial >= TRIED_EVERY;
        let extra = if surprised { 0.0 } else { extra };
        !known.is_tried && is_time && known.allowance >= extra
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream of numbers that looks random.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX)
        }

        /// Times vary by some per cent.
        fn noise(&mut self) -> f64 {
            0.92 + 0.16 * self.next()
        }

        /// Now and then something else runs.
        fn disturbance(&mut self) -> f64 {
            if self.next() < 0.01 { 5.0 } else { 1.0 }
        }
    }

    /// What devices really take.
    #[derive(Debug, Clone, Copy)]
    struct World {
        cpu: Costs,
        gpu: Costs,
    }

    impl World {
        fn scaled(self, cpu: f64, gpu: f64) -> Self {
            let scale = |costs: Costs, by: f64| Costs {
                fixed: costs.fixed * by,
                per_row: costs.per_row * by,
                per_byte: costs.per_byte * by,
                per_sent: costs.per_sent * by,
            };
            Self { cpu: scale(self.cpu, cpu), gpu: scale(self.gpu, gpu) }
        }

        fn seconds(&self, side: Side, work: Work) -> f64 {
            match side {
                Side::Cpu => self.cpu.seconds(work),
                Side::Gpu => self.gpu.seconds(work),
            }
        }
    }

    const fn costs(fixed: f64, per_row: f64, per_byte: f64) -> Costs {
        Costs { fixed, per_row, per_byte, per_sent: 0.0 }
    }

    /// Machines whose GPU pays from some size on, always for large work, never, and as much as the CPU.
    const WORLDS: [World; 4] = [
        World { cpu: costs(4e-6, 5e-9, 1e-10), gpu: costs(3e-4, 2e-10, 5e-11) },
        World { cpu: costs(4e-6, 3e-8, 1e-10), gpu: costs(1e-4, 1e-10, 3e-11) },
        World { cpu: costs(4e-6, 2e-10, 5e-11), gpu: costs(5e-4, 2e-10, 2e-10) },
        World { cpu: costs(4e-6, 1e-9, 1e-10), gpu: costs(4e-5, 1e-9, 9e-11) },
    ];

    fn work(class: u32) -> Work {
        Work { rows: 1 << class, bytes: 16 << class, sent: 4 << class }
    }

    /// Plays so many works of one class, the second half in another world; gives what was spent by choice, and what each
    /// device alone would have taken. Disturbances are seen by the chooser and not counted: they meet any device.
    fn play(chooser: &mut Chooser, worlds: [World; 2], class: u32, runs: usize, random: &mut Random) -> [f64; 3] {
        let mut spent = [0.0; 3];
        for run in 0..runs {
            let (world, work) = (worlds[run * 2 / runs], work(class));
            let times = [Side::Cpu, Side::Gpu].map(|side| world.seconds(side, work) * random.noise());
            let choice = chooser.choose(work);
            let seconds = times[choice.side as usize];
            chooser.learn(&choice, work, Some(seconds * random.disturbance()));
            spent[0] += seconds;
            spent[1] += times[0];
            spent[2] += times[1];
        }
        spent
    }

    /// Sizes from 1 K to 64 M rows: every other power of two.
    const SIZES: [u32; 9] = [10, 12, 14, 16, 18, 20, 22, 24, 26];
    const RUNS: usize = 4000;

    #[test]
    fn never_much_slower_than_the_better_device_whatever_the_size_and_however_wrong_the_calibration() {
        let mut random = Random(7);
        let mut worst: f64 = 0.0;
        for world in WORLDS {
            for (cpu_off, gpu_off) in [(1.0, 1.0), (0.4, 1.0), (2.5, 1.0), (1.0, 0.4), (1.0, 2.5), (2.0, 0.5)] {
                for class in SIZES {
                    let foretold = world.scaled(cpu_off, gpu_off);
                    let mut chooser = Chooser::new(foretold.cpu, foretold.gpu);
                    let [spent, cpu, gpu] = play(&mut chooser, [world; 2], class, RUNS, &mut random);
                    let ratio = spent / cpu.min(gpu);
                    assert!(ratio < 1.05, "{world:?}, off by {cpu_off} and {gpu_off}, 2^{class} rows: {ratio}");
                    worst = worst.max(ratio);
                }
            }
        }
        assert!(worst > 1.0, "trials cost something");
    }

    #[test]
    fn a_change_of_speeds_midway_is_noticed() {
        let mut random = Random(11);
        for world in WORLDS {
            for (cpu, gpu) in [(3.0, 1.0), (1.0, 3.0), (1.0, 0.3), (0.3, 1.0)] {
                let later = world.scaled(cpu, gpu);
                for class in SIZES {
                    let mut chooser = Chooser::new(world.cpu, world.gpu);
                    let [spent, all_cpu, all_gpu] = play(&mut chooser, [world, later], class, RUNS, &mut random);
                    let ratio = spent / all_cpu.min(all_gpu);
                    assert!(ratio < 1.05, "{world:?}, then {cpu} and {gpu}, 2^{class} rows: {ratio}");
                }
            }
        }
    }

    #[test]
    fn sizes_may_come_in_any_order() {
        let mut random = Random(13);
        for world in WORLDS {
            let foretold = world.scaled(0.5, 2.0);
            let mut chooser = Chooser::new(foretold.cpu, foretold.gpu);
            let mut spent = vec![[0.0_f64; 3]; CLASSES];
            for _ in 0..RUNS * SIZES.len() {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number below 9")]
                let class = SIZES[(random.next() * 8.999) as usize];
                let one = play(&mut chooser, [world; 2], class, 1, &mut random);
                spent[class as usize].iter_mut().zip(one).for_each(|(all, one)| *all += one);
            }
            for class in SIZES {
                let [spent, cpu, gpu] = spent[class as usize];
                assert!(spent / cpu.min(gpu) < 1.05, "{world:?}, 2^{class} rows: {}", spent / cpu.min(gpu));
            }
        }
    }

    #[test]
    fn trials_never_cost_more_than_their_share() {
        let mut random = Random(17);
        for world in WORLDS {
            for class in SIZES {
                let mut chooser = Chooser::new(world.cpu, world.gpu);
                let (mut spent, mut trials, mut last) = (0.0, 0.0, 0.0_f64);
                for _ in 0..RUNS {
                    let choice = chooser.choose(work(class));
                    let seconds = world.seconds(choice.side, work(class)) * random.noise();
                    chooser.learn(&choice, work(class), Some(seconds));
                    spent += seconds;
                    if choice.is_trial {
                        let known = seconds.min(2.0 * choice.expected_of(choice.side));
                        last = (known - choice.expected_of(choice.side.other())).max(0.0);
                        trials += last;
                    }
                }
                // One trial may take longer than was foreseen; disturbances meet any work.
                assert!(trials <= 0.02 * spent + 5.0 * last, "{world:?}, 2^{class} rows: {trials} of {spent}");
            }
        }
    }

    #[test]
    fn one_disturbed_time_changes_nothing() {
        let world = WORLDS[0];
        let mut chooser = Chooser::new(world.cpu, world.gpu);
        let large = work(24);
        for disturbed in [false, false, false, true, false] {
            let choice = chooser.choose(large);
            assert_eq!(choice.side, Side::Gpu);
            let seconds = world.gpu.seconds(large) * if disturbed { 50.0 } else { 1.0 };
            chooser.learn(&choice, large, Some(seconds));
        }
        assert_eq!(chooser.peek(large).side, Side::Gpu);
    }

    #[test]
    fn threads_do_not_try_all_at_once() {
        let world = WORLDS[3];
        let mut chooser = Chooser::new(world.cpu, world.gpu);
        for _ in 0..1000 {
            let choice = chooser.choose(work(20));
            chooser.learn(&choice, work(20), Some(world.seconds(choice.side, work(20))));
        }
        let trials = (0..40).map(|_| chooser.choose(work(20))).filter(|choice| choice.is_trial).count();
        assert!(trials <= 1, "{trials} trials under way");
    }

    #[test]
    fn work_that_fell_back_teaches_nothing_and_the_gpu_is_left_alone_for_longer_and_longer() {
        let world = WORLDS[1];
        let (mut chooser, large) = (Chooser::new(world.cpu, world.gpu), work(24));
        let before = chooser.peek(large);
        assert_eq!(before.side, Side::Gpu);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let choice = chooser.choose(large);
            assert!(choice.side == Side::Gpu && !choice.is_trial && !choice.measured[Side::Gpu as usize]);
            chooser.fell_back(&choice);
            let mut pause = 0;
            while let choice = chooser.choose(large)
                && choice.side == Side::Cpu
            {
                assert!(
                    choice.in_trouble && choice.expected[Side::Gpu as usize] == before.expected[Side::Gpu as usize]
                );
                chooser.learn(&choice, large, None);
                pause += 1;
            }
            pauses.push(pause);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64]);
        // What is finished ends it.
        let choice = chooser.choose(large);
        chooser.learn(&choice, large, Some(world.gpu.seconds(large)));
        let choice = chooser.choose(large);
        chooser.fell_back(&choice);
        let choice = chooser.choose(large);
        chooser.learn(&choice, large, None);
        assert_eq!((choice.side, chooser.peek(large).side), (Side::Cpu, Side::Gpu));
    }

    #[test]
    fn a_trial_that_fell_back_is_over() {
        let world = WORLDS[3];
        let mut chooser = Chooser::new(world.cpu, world.gpu);
        let trial = loop {
            let choice = chooser.choose(work(20));
            if choice.is_trial && choice.side == Side::Gpu {
                break choice;
            }
            // The GPU is a little slower.
            let by = if choice.side == Side::Gpu { 1.1 } else { 1.0 };
            chooser.learn(&choice, work(20), Some(by * world.seconds(choice.side, work(20))));
        };
        chooser.fell_back(&trial);
        let trials = (0..2000).filter(|_| {
            let choice = chooser.choose(work(20));
            chooser.learn(&choice, work(20), Some(world.seconds(choice.side, work(20))));
            choice.is_trial
        });
        assert!(trials.count() > 0);
    }

    #[test]
    fn a_time_that_says_nothing_is_not_learned() {
        let mut chooser = Chooser::new(WORLDS[0].cpu, WORLDS[0].gpu);
        let choice = chooser.choose(work(24));
        chooser.learn(&choice, work(24), None);
        chooser.learn(&choice, work(24), Some(f64::INFINITY));
        assert_eq!(chooser.peek(work(24)), choice);
    }
}
