//! A model's text on its way back, with what the placeholders stand for.

use async_trait::async_trait;
use powerhouse_domain::masking::{Unveiling, Veil};
use powerhouse_ports::models::DeltaSink;

/// Passes text on as soon as no placeholder can be made of it any more.
pub(super) struct Unveiled<'a> {
    unveiling: Unveiling<'a>,
    to: Box<dyn DeltaSink>,
}

impl<'a> Unveiled<'a> {
    pub(super) fn new(veil: &'a Veil, to: Box<dyn DeltaSink>) -> Self {
        Self { unveiling: veil.unveiling(), to }
    }

    /// There is no more text.
    pub(super) async fn finish(self) {
        let Self { unveiling, mut to } = self;
        pass_on(&mut *to, &unveiling.finish()).await;
    }
}

#[async_trait]
impl DeltaSink for Unveiled<'_> {
    async fn push(&mut self, text: &str) {
        let text = self.unveiling.push(text);
        pass_on(&mut *self.to, &text).await;
    }
}

async fn pass_on(to: &mut dyn DeltaSink, text: &str) {
    if !text.is_empty() {
        to.push(text).await;
    }
}
