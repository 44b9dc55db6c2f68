//! The shaders of a stage, made ready for a device when they are first needed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::device::{Device, Pipeline};
use super::shader::Shader;
use super::trouble::Trouble;

/// The pipelines of a stage on one device.
#[derive(Debug)]
pub(super) struct Pipelines {
    device: Arc<Device>,
    ready: Mutex<BTreeMap<String, Pipeline>>,
}

impl Pipelines {
    /// None yet.
    pub(super) fn new(device: Arc<Device>) -> Self {
        Self { device, ready: Mutex::new(BTreeMap::new()) }
    }

    pub(super) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// The pipeline of a shader.
    pub(super) fn get(&self, shader: &Shader) -> Result<Pipeline, Trouble> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = ready.get(&shader.text) {
            return Ok(pipeline.clone());
        }
        let pipeline = self.device.pipeline(shader.operation.name(), &shader.text, &shader.bindings)?;
        ready.insert(shader.text.clone(), pipeline.clone());
        Ok(pipeline)
    }
}
