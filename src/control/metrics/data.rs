//! What the cores counted.

use std::sync::Arc;

use crate::clock::UnixMs;
use crate::telemetry::access::Verdict;
use crate::telemetry::counters::{Closed, HistogramSum, Limit, RouteSum, STATUS_CLASSES, Sums};
use crate::telemetry::streams::{CutCause, StreamKind};

use super::Sources;
use super::family::{Page, number};

const VERDICTS: [Verdict; 5] =
    [Verdict::Forwarded, Verdict::Answered, Verdict::Refused, Verdict::Failed, Verdict::Cut];
/// With more routes, a reason is shown once it happened: a thousand routes times all reasons would
/// be a scrape of its own.
const ROUTES_WITH_ZEROS: usize = 100;

pub fn write(sources: &Sources, page: &mut Page<'_>) -> std::fmt::Result {
    let sums = sources.counters.sums();
    requests(&sums, page)?;
    rejections(sources, &sums, page)?;
    tokens(&sums, page)?;
    upstreams(&sums, page)?;
    streams(&sums, page)?;
    page.counters(
        "portcullis_shed",
        "Requests and connections that a limit turned away",
        Limit::ALL.iter().zip(sums.shed).map(|(limit, n)| ([("limit", limit.as_str())], n)),
    )?;
    page.counters(
        "portcullis_connections_closed",
        "Connections of clients that the gateway ended, or that did not begin",
        Closed::ALL.iter().zip(sums.closed).map(|(cause, n)| ([("cause", cause.as_str())], n)),
    )?;
    page.counters(
        "portcullis_signature_cache",
        "Look-ups of verified signatures",
        [([("result", "hit")], sums.cache_hits), ([("result", "miss")], sums.cache_misses)],
    )
}

fn requests(sums: &Sums, page: &mut Page<'_>) -> std::fmt::Result {
    let mut counts = Vec::new();
    for (route, sum) in &sums.routes {
        for verdict in VERDICTS {
            for (class, code) in STATUS_CLASSES.iter().enumerate() {
                let count = sum.requests(class, verdict);
                if count > 0 {
                    let labels =
                        [("route", route.as_str()), ("code", *code), ("verdict", verdict.as_str())];
                    counts.push((labels, count));
                }
            }
        }
    }
    page.counters("portcullis_requests", "Requests that have ended", counts)?;
    let of_routes = |of: fn(&RouteSum) -> &HistogramSum| {
        let with_any = sums.routes.iter().filter(move |(_, sum)| of(sum).count() > 0);
        with_any.map(move |(name, sum)| ([("route", name.as_str())], of(sum)))
    };
    page.histograms(
        "portcullis_request_duration_seconds",
        "From a request's head to the end of its answer",
        of_routes(|sum| &sum.duration),
    )?;
    page.histograms(
        "portcullis_added_duration_seconds",
        "From a request's head to its being sent to the upstream: the gateway's own share",
        of_routes(|sum| &sum.added),
    )
}

fn rejections(sources: &Sources, sums: &Sums, page: &mut Page<'_>) -> std::fmt::Result {
    let named: Vec<Arc<str>> = (sources.routes)();
    let mut counts: Vec<([(&str, &str); 2], u64)> = Vec::new();
    if named.len() <= ROUTES_WITH_ZEROS {
        for route in named.iter().map(|name| &**name).chain([""]) {
            let seen = |code| sums.routes.get(route).and_then(|sum| sum.rejections.get(code));
            let unseen = sources.codes.iter().filter(|code| seen(**code).is_none());
            counts.extend(unseen.map(|code| ([("route", route), ("reason", *code)], 0)));
        }
    }
    for (route, sum) in &sums.routes {
        let seen = sum.rejections.iter();
        counts.extend(seen.map(|(code, n)| ([("route", route.as_str()), ("reason", *code)], *n)));
    }
    page.counters(
        "portcullis_rejections",
        "Requests that were not forwarded or were cut, by the answer's code",
        counts,
    )
}

fn tokens(sums: &Sums, page: &mut Page<'_>) -> std::fmt::Result {
    let issuers = || sums.issuers.iter().map(|(name, sum)| (name.as_str(), sum));
    page.counters(
        "portcullis_tokens",
        "Tokens judged before the denylist was asked",
        issuers().flat_map(|(issuer, sum)| {
            let labels = |result| [("issuer", issuer), ("result", result)];
            [(labels("accepted"), sum.accepted), (labels("refused"), sum.refused)]
        }),
    )?;
    page.counters(
        "portcullis_tokens_unrevocable",
        "Tokens seen for the first time that cannot be revoked by what they lack",
        issuers().flat_map(|(issuer, sum)| {
            let missing = sum.unrevocable.iter();
            missing
                .map(move |(missing, n)| ([("issuer", issuer), ("missing", missing.as_str())], *n))
        }),
    )?;
    page.counters(
        "portcullis_unknown_key",
        "Tokens that name a key which the issuer does not have",
        issuers().map(|(issuer, sum)| ([("issuer", issuer)], sum.unknown_key)),
    )?;
    let now = UnixMs::now();
    page.gauges(
        "portcullis_clock_skew_seconds",
        "How far ahead of this clock an issuer's was at the most, in the last five minutes",
        issuers().map(|(issuer, sum)| ([("issuer", issuer)], sum.ahead.most(now).as_secs_f64())),
    )?;
    page.counters(
        "portcullis_denial_hits",
        "Requests that a denial refused",
        issuers().flat_map(|(issuer, sum)| {
            let hits = sum.hits.iter();
            hits.map(move |(selector, n)| {
                ([("issuer", issuer), ("selector", selector.as_str())], *n)
            })
        }),
    )
}

fn streams(sums: &Sums, page: &mut Page<'_>) -> std::fmt::Result {
    let open = sums.streams.iter().flat_map(|(route, sum)| {
        let kinds = StreamKind::ALL.into_iter().zip(sum.open);
        kinds
            .map(move |(kind, n)| ([("route", route.as_str()), ("kind", kind.as_str())], number(n)))
    });
    page.gauges("portcullis_streams", "Streams that are open", open)?;
    let cut = sums.streams.iter().flat_map(|(route, sum)| {
        let causes = CutCause::ALL.into_iter().zip(sum.cut);
        causes.map(move |(cause, n)| ([("route", route.as_str()), ("cause", cause.as_str())], n))
    });
    page.counters("portcullis_streams_cut", "Streams that the gateway ended", cut)?;
    page.histograms(
        "portcullis_stream_cut_duration_seconds",
        "From a denial to the end that the client sees",
        [([], &sums.cut_took)],
    )
}

fn upstreams(sums: &Sums, page: &mut Page<'_>) -> std::fmt::Result {
    let upstreams = || sums.upstreams.iter().map(|(name, sum)| (name.as_str(), sum));
    page.histograms(
        "portcullis_upstream_duration_seconds",
        "From the sending of a request to the head of the upstream's answer",
        upstreams().map(|(name, sum)| ([("upstream", name)], &sum.took)),
    )?;
    page.counters(
        "portcullis_upstream_requests",
        "Answers of an upstream",
        upstreams().flat_map(|(name, sum)| {
            let classes = STATUS_CLASSES.iter().zip(sum.statuses);
            classes.map(move |(code, n)| ([("upstream", name), ("code", *code)], n))
        }),
    )?;
    page.gauges(
        "portcullis_upstream_connections",
        "Connections to an upstream's servers that are open, as of the last second",
        upstreams().flat_map(|(name, sum)| {
            let labels = |state| [("upstream", name), ("state", state)];
            [(labels("idle"), number(sum.idle)), (labels("active"), number(sum.active()))]
        }),
    )?;
    page.counters(
        "portcullis_upstream_connections_opened",
        "Connections to an upstream's servers that were opened",
        upstreams().map(|(name, sum)| ([("upstream", name)], sum.opened)),
    )?;
    page.counters(
        "portcullis_upstream_connections_reused",
        "Answers that came by a connection which had been there before the request",
        upstreams().map(|(name, sum)| ([("upstream", name)], sum.reused)),
    )
}
