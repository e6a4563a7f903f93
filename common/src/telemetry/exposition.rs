//! Reading metrics in the OpenMetrics text format, as our own registry writes them, into OTLP's shape.
//!
//! Text is the one form that every metric has already, so nothing has to be counted twice. What is not understood is
//! left out. Source of the format: the OpenMetrics specification 1.0.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

type Labels = Vec<(String, String)>;

/// From when to when the values were counted, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) now: u64,
}

/// All counters, gauges and histograms of a text.
pub(super) fn metrics(text: &str, span: Span) -> Vec<Metric> {
    let mut found: Vec<Family> = Vec::new();
    let mut help = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (name, help) = (name.to_owned(), std::mem::take(&mut help).to_owned());
            found.push(Family { name, help, kind: kind.to_owned(), samples: Vec::new() });
        } else if let (Some(family), Some(sample)) = (found.last_mut(), sample(line)) {
            family.samples.push(sample);
        }
    }
    found.into_iter().filter_map(|family| family.metric(span)).collect()
}

struct Family {
    name: String,
    help: String,
    kind: String,
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: Labels,
    value: f64,
}

impl Family {
    fn metric(self, span: Span) -> Option<Metric> {
        let data = match self.kind.as_str() {
            "counter" => Data::Sum(Sum {
                data_points: self.numbers("_total", span),
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
                is_monotonic: true,
            }),
            "gauge" => Data::Gauge(Gauge { data_points: self.numbers("", span) }),
            "histogram" => Data::Histogram(Histogram {
                data_points: self.histograms(span),
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
            }),
            _ => return None,
        };
        Some(Metric { name: self.name, description: self.help, data: Some(data), ..Metric::default() })
    }

    fn numbers(&self, suffix: &str, span: Span) -> Vec<NumberDataPoint> {
        let wanted = |sample: &&Sample| sample.name.strip_prefix(&self.name) == Some(suffix);
        let point = |sample: &Sample| NumberDataPoint {
            attributes: attributes(&sample.labels),
            start_time_unix_nano: span.start,
            time_unix_nano: span.now,
            value: Some(Value::AsDouble(sample.value)),
            ..NumberDataPoint::default()
        };
        self.samples.iter().filter(wanted).map(point).collect()
    }

    fn histograms(&self, span: Span) -> Vec<HistogramDataPoint> {
        let mut by_labels: BTreeMap<Labels, HistogramDataPoint> = BTreeMap::new();
        for sample in &self.samples {
            let (bound, labels): (Vec<_>, Vec<_>) =
                sample.labels.iter().cloned().partition(|(name, _)| name == "le");
            let point = by_labels.entry(labels).or_insert_with_key(|labels| HistogramDataPoint {
                attributes: attributes(labels),
                start_time_unix_nano: span.start,
                time_unix_nano: span.now,
                ..HistogramDataPoint::default()
            });
            match (sample.name.strip_prefix(&self.name), bound.first()) {
                (Some("_sum"), _) => point.sum = Some(sample.value),
                (Some("_count"), _) => point.count = whole(sample.value),
                (Some("_bucket"), Some((_, bound))) => add_bucket(point, bound, whole(sample.value)),
                _ => {}
            }
        }
        by_labels.into_values().collect()
    }
}

/// The text counts everything up to a bound, OTLP what lies between two.
fn add_bucket(point: &mut HistogramDataPoint, bound: &str, up_to: u64) {
    let below: u64 = point.bucket_counts.iter().sum();
    point.bucket_counts.push(up_to.saturating_sub(below));
    match bound.parse::<f64>() {
        Ok(bound) if bound.is_finite() => point.explicit_bounds.push(bound),
        _ => {} // the last bucket is without a bound
    }
}

#[expect(clippy::cast_sign_loss, reason = "a count is not negative, and the cast of one that is gives 0")]
fn whole(value: f64) -> u64 {
    value as u64
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.iter().map(|(key, value)| attribute(key, value)).collect()
}

pub(super) fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// A line such as `name{label="value"} 1.5`; an exemplar after it is left out.
fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((found, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        found.push((name.to_owned(), value));
        rest = after;
    }
}

/// A label's value up to its closing quote, without its escapes, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(match characters.next()? {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPAN: Span = Span { start: 1, now: 2 };

    const TEXT: &str = "\
# HELP app_requests Requests answered.
# TYPE app_requests counter
app_requests_total{method=\"GET\",path=\"a\\\"b\\\\c\\nd\"} 7
app_requests_total{method=\"HEAD\"} 1
# HELP app_open Connections open.
# TYPE app_open gauge
app_open 3
# TYPE app_seconds histogram
app_seconds_sum{kind=\"x\"} 2.5
app_seconds_count{kind=\"x\"} 6
app_seconds_bucket{le=\"0.1\",kind=\"x\"} 1
app_seconds_bucket{le=\"1.0\",kind=\"x\"} 4 # {trace=\"t\"} 0.5
app_seconds_bucket{le=\"+Inf\",kind=\"x\"} 6
# TYPE app_build info
app_build_info{version=\"1\"} 1
# EOF
";

    #[test]
    fn counters_gauges_and_histograms_keep_their_meaning() {
        let found = metrics(TEXT, SPAN);
        let names: Vec<_> = found.iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(names, ["app_requests", "app_open", "app_seconds"]);
        assert_eq!(found[0].description, "Requests answered.");

        let Some(Data::Sum(sum)) = &found[0].data else { panic!("a counter is a sum") };
        assert!(sum.is_monotonic);
        let values: Vec<_> = sum.data_points.iter().map(|point| point.value.unwrap()).collect();
        assert_eq!(values, [Value::AsDouble(7.0), Value::AsDouble(1.0)]);
        assert_eq!(sum.data_points[0].attributes[1], attribute("path", "a\"b\\c\nd"));

        let Some(Data::Gauge(gauge)) = &found[1].data else { panic!("a gauge is a gauge") };
        assert_eq!(gauge.data_points[0].value, Some(Value::AsDouble(3.0)));

        let Some(Data::Histogram(histogram)) = &found[2].data else { panic!("a histogram is one") };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum), (6, Some(2.5)));
        assert_eq!(
            (point.explicit_bounds.as_slice(), point.bucket_counts.as_slice()),
            (&[0.1, 1.0][..], &[1, 3, 2][..])
        );
        assert_eq!(point.attributes, [attribute("kind", "x")]);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(# TYPE [a-z]{1,3} (counter|histogram|gauge)\n|[a-z_]{1,9}[{}=\",\\\\a-z]{0,9} [0-9.+Inf]{0,4}\n|\\PC{0,20}\n){0,8}") {
            metrics(&text, SPAN);
        }
    }
}
