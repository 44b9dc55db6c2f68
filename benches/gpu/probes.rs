//! What a device's compute units reach by shaders of a few lines: reading, dispatches in one submission, work that goes on
//! while rows go up; and what its compiler does to floats, which Pelton never relies on.

use std::borrow::Cow;

use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, Buffer, BufferUsages, CommandEncoderDescriptor,
    ComputePassDescriptor, ComputePipeline, ComputePipelineDescriptor, MapMode, ShaderModuleDescriptor,
    ShaderRuntimeChecks, ShaderSource,
};

use crate::link::{Link, best};

const SUM: &str = "
@group(0) @binding(0) var<storage, read_write> input: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> output: array<atomic<u32>>;
var<workgroup> sums: array<u32, 256>;

fn kept(value: u32) -> u32 { return KEPT; }

@compute @workgroup_size(256)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let count = arrayLength(&input);
    var sum = 0u;
    for (var place = id.x; place < count; place += groups.x * 256u) {
        let four = input[place];
        sum += kept(four.x) + kept(four.y) + kept(four.z) + kept(four.w);
    }
    sums[local] = sum;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if local < half {
            sums[local] += sums[local + half];
        }
        workgroupBarrier();
    }
    if local == 0u {
        atomicAdd(&output[0], sums[0]);
    }
}
";

const FLOATS: &str = "
@group(0) @binding(0) var<storage, read_write> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(1)
fn main() {
    let a = input[0];
    let b = input[1];
    let sum = a + b;
    let part = sum - a;
    let error = (a - (sum - part)) + (b - part);
    output[0] = bitcast<u32>(error);
    let nan = input[2];
    output[1] = select(0u, 1u, nan != nan);
}
";

/// Workgroups of a sum: several for each unit of a large device.
const WORKGROUPS: u32 = 2048;

/// A shader on two buffers.
struct Kernel<'a> {
    link: &'a Link,
    pipeline: ComputePipeline,
    group: BindGroup,
    output: Buffer,
}

impl<'a> Kernel<'a> {
    fn new(link: &'a Link, text: &str, input: &Buffer, is_trusted: bool) -> Self {
        let source = ShaderSource::Wgsl(Cow::Borrowed(text));
        let descriptor = ShaderModuleDescriptor { label: None, source };
        let module = if is_trusted {
            let checks = ShaderRuntimeChecks { force_loop_bounding: false, ..ShaderRuntimeChecks::checked() };
            // SAFETY: the loops of these shaders end: they count up to the length of a buffer, or down to 0.
            unsafe { link.device.create_shader_module_trusted(descriptor, checks) }
        } else {
            link.device.create_shader_module(descriptor)
        };
        let pipeline = link.device.create_compute_pipeline(&ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let output = link.buffer(64, BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST);
        let entries = [input, &output].map(Buffer::as_entire_binding);
        let [first, second] = entries;
        let group = link.device.create_bind_group(&BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[BindGroupEntry { binding: 0, resource: first }, BindGroupEntry { binding: 1, resource: second }],
        });
        Self { link, pipeline, group, output }
    }

    /// Submits so many dispatches at once, without waiting.
    fn submit(&self, dispatches: usize, workgroups: u32) {
        let mut encoder = self.link.device.create_command_encoder(&CommandEncoderDescriptor::default());
        encoder.clear_buffer(&self.output, 0, None);
        for _ in 0..dispatches {
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.group, &[]);
            pass.dispatch_workgroups(workgroups, 1, 1);
        }
        self.link.queue.submit([encoder.finish()]);
    }

    fn run(&self, dispatches: usize, workgroups: u32) {
        self.submit(dispatches, workgroups);
        self.link.wait();
    }

    fn words(&self) -> Vec<u32> {
        let answer = self.link.buffer(64, BufferUsages::MAP_READ | BufferUsages::COPY_DST);
        let mut encoder = self.link.device.create_command_encoder(&CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&self.output, 0, &answer, 0, 64);
        encoder.map_buffer_on_submit(&answer, MapMode::Read, .., Result::unwrap);
        self.link.queue.submit([encoder.finish()]);
        self.link.wait();
        let bytes = answer.get_mapped_range(..).unwrap().to_vec();
        let (words, _) = bytes.as_chunks::<4>();
        words.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }
}

fn input(link: &Link, words: &[u32]) -> Buffer {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
    let buffer = link.buffer(bytes.len() as u64, usage);
    link.queue.write_buffer(&buffer, 0, &bytes);
    buffer
}

/// Prints all of it as Markdown. `bytes` is the size of what is read, `copy` what the device copies in a second.
pub(crate) fn measure(link: &Link, bytes: u64, copy: f64) {
    let words: Vec<u32> = (0..u32::try_from(bytes / 4).unwrap()).map(|word| word % 1000).collect();
    let column = input(link, &words);
    println!("\n| shader, words of 32 bits | GB/s | of the copy |\n|---|---|---|");
    let all = words.iter().fold(0_u32, |sum, &word| sum.wrapping_add(word));
    let some = words.iter().filter(|&&word| word < 500).fold(0_u32, |sum, &word| sum.wrapping_add(word));
    for (name, kept, expected) in [("sum", "value", all), ("filtered sum", "select(0u, value, value < 500u)", some)] {
        for (how, is_trusted) in [("loops bounded", false), ("loops trusted", true)] {
            let kernel = Kernel::new(link, &SUM.replace("KEPT", kept), &column, is_trusted);
            kernel.run(1, WORKGROUPS);
            assert_eq!(kernel.words()[0], expected, "{name}");
            let speed = bytes as f64 / best(|| kernel.run(1, WORKGROUPS));
            println!("| {name}, {how} | {:.1} | {:.2} |", speed / 1e9, speed / copy);
        }
    }
    let small = input(link, &words[..1024.min(words.len())]);
    let kernel = Kernel::new(link, &SUM.replace("KEPT", "value"), &small, true);
    println!("\n| dispatches in a submission | µs |\n|---|---|");
    for dispatches in [1, 10, 100] {
        println!("| {dispatches} | {:.0} |", 1e6 * best(|| kernel.run(dispatches, 1)));
    }
    overlap(link, &column, bytes);
    floats(link);
}

/// Whether rows go up while the device works.
fn overlap(link: &Link, column: &Buffer, bytes: u64) {
    const BATCHES: usize = 6;
    let kernel = Kernel::new(link, &SUM.replace("KEPT", "value"), column, true);
    let target = link.buffer(bytes, BufferUsages::COPY_DST | BufferUsages::STORAGE);
    let source = vec![3_u8; usize::try_from(bytes).unwrap()];
    // As much work as takes about as long as the upload.
    let (upload, once) = (link.upload(bytes), best(|| kernel.run(1, WORKGROUPS)));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    let dispatches = (upload / once).clamp(1.0, 1000.0) as usize;
    let work = best(|| kernel.run(dispatches, WORKGROUPS));
    let batches = |waits: bool| {
        best(|| {
            for _ in 0..BATCHES {
                link.queue.write_buffer(&target, 0, &source);
                kernel.submit(dispatches, WORKGROUPS);
                if waits {
                    link.wait();
                }
            }
            link.wait();
        }) / BATCHES as f64
    };
    let [in_turn, at_once] = [true, false].map(batches);
    println!(
        "\nA batch of {bytes} bytes: up {:.2} ms, work {:.2} ms; one after the other {:.2} ms, overlapped {:.2} ms.",
        1e3 * upload,
        1e3 * work,
        1e3 * in_turn,
        1e3 * at_once
    );
}

/// What the compiler leaves of two idioms of floats.
fn floats(link: &Link) {
    let tiny = 2.0_f32.powi(-30);
    let values = input(link, &[1.0_f32.to_bits(), tiny.to_bits(), f32::NAN.to_bits(), 0]);
    let kernel = Kernel::new(link, FLOATS, &values, false);
    kernel.run(1, 1);
    let words = kernel.words();
    let survives = |is_there: bool| if is_there { "survives" } else { "is compiled away" };
    println!(
        "\nThe error term of a sum {}; `x != x` for NaN {}. Neither is relied on.\n",
        survives(f32::from_bits(words[0]).to_bits() == tiny.to_bits()),
        survives(words[1] == 1)
    );
}
