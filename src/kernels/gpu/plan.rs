//! What a device does of a stage: its shaders, the columns that travel, and what comes back; or why it cannot.

use super::code::{Refusal, Value, Writer, both};
use super::columns::{Columns, Source};
use super::groups::GroupPlan;
use super::kept::KeptPlan;
use super::kind::Kind;
use super::shader::{Operation, Shader, number};
use super::tier::Tier;
use crate::columnar::{DataType, TimeUnit};
use crate::expr::TypedExpr;
use crate::plan::keep::{Span, WatermarkId};
use crate::plan::stage::{End, Stage, Step};

/// Computed columns that a row may have: each has a bit for its value and one for whether it is there.
const WRITTEN_MAX: usize = 16;

/// A stage, or all of it but its end, as a device runs it.
#[derive(Debug, Clone)]
pub(super) struct StagePlan {
    pub(super) columns: Columns,
    pub(super) work: Work,
    pub(super) watermarks: Vec<Watermark>,
}

/// A watermark that the host looks after.
#[derive(Debug, Clone)]
pub(super) struct Watermark {
    pub(super) id: WatermarkId,
    /// What it sees, as an expression on the stage's input.
    pub(super) time: TypedExpr,
    pub(super) unit: TimeUnit,
}

/// What a device makes of the rows of a batch.
#[derive(Debug, Clone)]
pub(super) enum Work {
    Rows(RowPlan),
    Groups(GroupPlan),
}

/// Rows that leave the steps.
#[derive(Debug, Clone)]
pub(super) struct RowPlan {
    /// The shaders that find the rows that stay, if there is a filter.
    pub(super) mark: Option<[Shader; 2]>,
    /// The shader that writes the computed columns, if there are some.
    pub(super) write: Option<Shader>,
    /// The columns that are computed.
    pub(super) written: Vec<Written>,
    /// All columns of the rows, in their order.
    pub(super) outputs: Vec<Output>,
}

/// A column that is computed on the device.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) kind: Kind,
    pub(super) data_type: DataType,
    pub(super) nullable: bool,
}

/// Where a column of the answer comes from.
#[derive(Debug, Clone)]
pub(super) enum Output {
    /// The device: one of the columns that it has written.
    Device(usize),
    /// The host: columns that only pass through, and texts, of the rows that stay.
    Host(TypedExpr),
}

impl StagePlan {
    /// The plan for a stage, for devices of this tier.
    ///
    /// # Errors
    /// Why it does not run on a device, in one sentence.
    pub(super) fn of(stage: &Stage, tier: Tier) -> Result<Self, Refusal> {
        let is_kept = matches!(&stage.end, End::Keep(keep) if !matches!(keep.span, Span::Rows(_)));
        if stage.operator().is_some() && !is_kept {
            return Err("it keeps single keys or rows from batch to batch, which only the CPU does".to_owned());
        }
        let watermarks = watermarks(stage)?;
        if stage.steps.iter().any(|step| matches!(step, Step::Validate { .. })) {
            return Err("it checks rules, which only the CPU does so far".to_owned());
        }
        let mut columns = Columns::default();
        let work = match &stage.end {
            End::Reduce { keys, aggregates } => {
                Work::Groups(GroupPlan::of(stage, keys, aggregates, tier, &mut columns)?)
            }
            End::Keep(keep) => {
                let mut plan = GroupPlan::of(stage, &keep.keys, &keep.aggregates, tier, &mut columns)?;
                plan.kept = Some(KeptPlan::of(keep, &plan).map(Box::new));
                Work::Groups(plan)
            }
            _ => Work::Rows(RowPlan::of(stage, &mut columns)?),
        };
        let mut plan = Self { columns, work, watermarks };
        let columns = plan.columns.0.len();
        plan.shaders().into_iter().for_each(|shader| shader.put_together(tier, columns));
        Ok(plan)
    }

    /// How groups stay on the device from batch to batch, or why they do not; none of a stage that keeps none.
    pub(super) fn kept(&self) -> Option<Result<&KeptPlan, &Refusal>> {
        match &self.work {
            Work::Groups(GroupPlan { kept: Some(kept), .. }) => Some(kept.as_ref().map(AsRef::as_ref)),
            _ => None,
        }
    }

    /// How groups may be found and where they may be added up, as their number turns out; none of a stage without keys.
    pub(super) fn group_ids(&self) -> Option<String> {
        let Work::Groups(GroupPlan { by_hash: Some(_), ranged, .. }) = &self.work else { return None };
        let way =
            if ranged.is_some() { "by number where keys lie near each other, else by hashing" } else { "by hashing" };
        Some(format!(
            "groups on the gpu: {way}; added up in the memory of workgroups, in copies of a table, in one table, or in that \
             in parts, as many as there turn out to be"
        ))
    }

    /// All shaders that the stage may need.
    pub(super) fn shaders(&mut self) -> Vec<&mut Shader> {
        match &mut self.work {
            Work::Rows(rows) => rows.mark.iter_mut().flatten().chain(&mut rows.write).collect(),
            Work::Groups(groups) => groups.shaders(),
        }
    }
}

/// What the watermarks of a stage see: all rows, as long as nothing has been left out.
fn watermarks(stage: &Stage) -> Result<Vec<Watermark>, Refusal> {
    let mut columns = Columns::default();
    let mut writer = Writer::new(&stage.input_schema, &mut columns, "");
    let mut found = Vec::new();
    let last = stage.steps.iter().rposition(|step| matches!(step, Step::Watermark { .. }));
    for step in stage.steps.iter().take(last.map_or(0, |last| last + 1)) {
        let Step::Watermark { id, column } = step else {
            writer.steps(std::slice::from_ref(step))?;
            continue;
        };
        if writer.filters > 0 {
            return Err("it filters before it notes event time, which only the CPU does so far".to_owned());
        }
        let time = writer.source(*column).clone();
        let DataType::Timestamp(unit, _) = time.data_type else {
            return Err("a watermark sees what is no time".to_owned());
        };
        found.push(Watermark { id: *id, time, unit });
    }
    Ok(found)
}

impl RowPlan {
    fn of(stage: &Stage, columns: &mut Columns) -> Result<Self, Refusal> {
        let filters = stage.steps.iter().rposition(|step| matches!(step, Step::Filter { .. }));
        let mark = match filters {
            None => None,
            Some(last) => {
                let mut writer = Writer::new(&stage.input_schema, columns, " false");
                writer.steps(&stage.steps[..=last])?;
                let functions = format!("fn keeps(row: u32) -> bool {{\n{}    return true;\n}}\n", writer.finish());
                Some([
                    shader(Operation::Mark, &[2, 3], true, functions),
                    shader(Operation::Scan, &[3], true, String::new()),
                ])
            }
        };
        let mut writer = Writer::new(&stage.input_schema, columns, "");
        writer.steps(&stage.steps)?;
        let (mut written, mut outputs, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..writer.width() {
            let expr = writer.source(index).clone();
            let is_made_on_host = expr.as_column().is_some() || Kind::of(&expr.data_type).is_none();
            outputs.push(if is_made_on_host {
                Output::Host(expr)
            } else {
                let value = writer.slot(index)?;
                let (data_type, nullable) = (expr.data_type.clone(), value.valid != "true");
                written.push(Written { kind: value.kind, data_type, nullable });
                values.push(value);
                Output::Device(values.len() - 1)
            });
        }
        if written.len() > WRITTEN_MAX {
            return Err(format!("it computes {} columns, and {WRITTEN_MAX} are the most here", written.len()));
        }
        if mark.is_none() && written.is_empty() {
            return Err("it computes nothing that a device could help with".to_owned());
        }
        let write = (!written.is_empty()).then(|| {
            write_values(&mut writer, &values);
            let functions = format!("fn write(row: u32, place: u32) {{\n{}}}\n", writer.finish());
            let bindings: &[u32] = if mark.is_some() { &[2, 3, 4] } else { &[4] };
            shader(Operation::Scatter, bindings, mark.is_some(), functions)
        });
        Ok(Self { mark, write, written, outputs })
    }
}

fn shader(operation: Operation, bindings: &[u32], filtered: bool, functions: String) -> Shader {
    Shader { operation, bindings: bindings.to_vec(), filtered, functions, ..Shader::default() }
}

/// The code that writes the computed columns of a row: one word of flags, then the words of each value.
fn write_values(writer: &mut Writer<'_>, values: &[Value]) {
    let mut flags = vec!["0u".to_owned()];
    for (place, value) in values.iter().enumerate() {
        if value.valid != "true" {
            flags.push(format!("select(0u, {}u, {})", 1_u32 << place, value.valid));
        }
        if value.kind == Kind::Bool {
            flags.push(format!("select(0u, {}u, {})", 1_u32 << (place + WRITTEN_MAX), value.text));
            continue;
        }
        let (words, start) = (value.kind.words(), number::WRITTEN + 1 + place);
        let at = writer.bind(&format!("number({start}u) + {words}u * place"));
        for (word, text) in words_of(value).iter().enumerate() {
            writer.line(&format!("output[{at} + {word}u] = {text};"));
        }
    }
    writer.line(&format!("output[number({}u) + place] = {};", number::WRITTEN, flags.join(" | ")));
}

/// The bit of a written column's truth values in the word of flags.
pub(super) fn truth_bit(place: usize) -> usize {
    place + WRITTEN_MAX
}

/// The words of a value, as WGSL.
pub(super) fn words_of(value: &Value) -> Vec<String> {
    let text = &value.text;
    match value.kind {
        Kind::Bool => vec![format!("select(0u, 1u, {text})")],
        Kind::Signed(_) => vec![format!("bitcast<u32>({text})")],
        Kind::Unsigned(_) | Kind::F32 => vec![text.clone()],
        other => ["x", "y", "z", "w"][..other.words()].iter().map(|part| format!("{text}.{part}")).collect(),
    }
}

/// The value of a key: a number, or the code of what the host makes.
pub(super) fn key_value(writer: &mut Writer<'_>, expr: &TypedExpr) -> Result<Value, Refusal> {
    if Kind::of(&expr.data_type).is_some() {
        return writer.expression(expr);
    }
    let flat = writer.flat(expr);
    Ok(writer.load(Source::Coded(flat), Kind::Unsigned(32), false))
}

/// Whether a row counts for an aggregate: its filter is true, and its value is there.
pub(super) fn counts(filter: Option<&Value>, value: Option<&Value>) -> String {
    let filter = filter.map_or("true".to_owned(), |filter| both(&filter.text, &filter.valid));
    both(&filter, value.map_or("true", |value| &value.valid))
}
