//! Families of metrics as they are written: a name, a help line, and a value for each set of
//! labels.

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::telemetry::counters::HistogramSum;

/// Labels of one value.
pub type Labels<'a, const N: usize> = [(&'a str, &'a str); N];

/// A page of metrics under way.
pub struct Page<'p> {
    encoder: DescriptorEncoder<'p>,
}

impl<'p> Page<'p> {
    pub fn new(encoder: DescriptorEncoder<'p>) -> Self {
        Self { encoder }
    }

    /// Counters; `name` without its `_total`, which the format adds.
    pub fn counters<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a, N>, u64)>,
    ) -> std::fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            let count = |mut metric: MetricEncoder<'_>| {
                metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
            };
            count(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> std::fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub fn float_counter(&mut self, name: &str, help: &str, value: f64) -> std::fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    pub fn gauges<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a, N>, f64)>,
    ) -> std::fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    pub fn gauge(&mut self, name: &str, help: &str, value: f64) -> std::fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        family.encode_gauge(&value)
    }

    pub fn histograms<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a, N>, &'a HistogramSum)>,
    ) -> std::fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, sum) in values {
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(
                sum.seconds(),
                sum.count(),
                &sum.buckets(),
                None,
            )?;
        }
        Ok(())
    }
}

/// A figure as the format wants it. Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float in this format")]
pub fn number(count: u64) -> f64 {
    count as f64
}
