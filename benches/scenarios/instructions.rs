//! How many instructions the scenarios of the criterion benches take, counted by gungraun under valgrind.
//!
//! Counts do not depend on what else the machine does: `.ci/instructions` compares them with those of an earlier commit.
//! Of criterion's scenarios those are counted that say something of their own, and the large ones in small.
//! Each is run once before it is counted, so that what is made at a first call is not in the count.
#![expect(missing_docs, reason = "gungraun makes a public module of each function")]

#[path = "."]
mod scenarios {
    pub(crate) mod admission;
    pub(crate) mod authentication;
    pub(crate) mod compile;
    pub(crate) mod limits;
    pub(crate) mod matching;
    pub(crate) mod measure;
    pub(crate) mod metering;
    pub(crate) mod stripping;
}

use std::hint::black_box;

use gungraun::{
    Callgrind, EntryPoint, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main as gungraun_main,
};
use scenarios::measure::Measure;

/// A file of 10 000 routes takes seconds under valgrind to get ready; what each of them costs can be told from these.
const ROUTES: usize = 500;
const HOSTS: usize = 2_000;

/// Counts one scenario and leaves out the others.
struct Count {
    wanted: &'static str,
    counted: usize,
}

impl Count {
    /// Counts the scenario of this name, which the group has once.
    fn one(wanted: &'static str, group: impl FnOnce(&mut Self)) {
        let mut count = Count { wanted, counted: 0 };
        group(&mut count);
        assert_eq!(count.counted, 1, "scenarios with the name {wanted:?}");
    }
}

impl Measure for Count {
    fn bytes(&mut self, _: usize) {}

    fn each<T>(&mut self, name: &str, mut routine: impl FnMut() -> T) {
        self.prepared(name, || (), |()| routine());
    }

    fn prepared<P, T>(&mut self, name: &str, mut prepare: impl FnMut() -> P, mut routine: impl FnMut(P) -> T) {
        if name != self.wanted {
            return;
        }
        drop(routine(prepare()));
        let prepared = prepare();
        drop(tollgate_counts_this(|| routine(prepared)));
        self.counted += 1;
    }
}

/// Callgrind counts while this runs, and knows it by its name.
#[inline(never)]
fn tollgate_counts_this<T>(routine: impl FnOnce() -> T) -> T {
    black_box(routine())
}

#[library_benchmark]
#[bench::no_parameters("no parameters")]
#[bench::three_parameters("three parameters")]
#[bench::fixed_and_allow("fixed and allow")]
#[bench::json_body("JSON body")]
#[bench::form_body("form body")]
fn admission(name: &'static str) {
    Count::one(name, scenarios::admission::admission);
}

#[library_benchmark]
#[bench::parse("parse")]
#[bench::hs256("HS256")]
fn signatures(name: &'static str) {
    Count::one(name, scenarios::authentication::signatures);
}

#[library_benchmark]
#[bench::public("public")]
#[bench::tinybird_jwt_cached("tinybird_jwt, cached")]
#[bench::tinybird_jwt_fresh("tinybird_jwt HS256, fresh")]
#[bench::jwt_cached("jwt HS256, cached")]
#[bench::jwt_fresh("jwt HS256, fresh")]
#[bench::one_of_four_cached("one of four providers, cached")]
#[bench::api_key("api_key")]
fn entrance(name: &'static str) {
    Count::one(name, scenarios::authentication::entrance);
}

#[library_benchmark]
#[bench::public("public")]
#[bench::tenant_fixed("tenant fixed")]
#[bench::minted_token_cached("tenant fixed, minted token, cached")]
fn known_callers(name: &'static str) {
    Count::one(name, scenarios::authentication::known_callers);
}

#[library_benchmark]
#[bench::one_rate("one rate")]
#[bench::a_rate_that_refuses("a rate that refuses")]
#[bench::a_quota_of_a_day("a quota of a day")]
#[bench::a_quota_of_a_month("a quota of a month")]
#[bench::two_rates_and_two_quotas("two rates and two quotas")]
fn limits(name: &'static str) {
    Count::one(name, scenarios::limits::decisions);
}

#[library_benchmark]
#[bench::exact_10("exact/10")]
#[bench::exact_500("exact/500")]
#[bench::capture_500("capture/500")]
#[bench::tail_500("tail/500")]
#[bench::miss_500("miss/500")]
fn matching(name: &'static str) {
    Count::one(name, |count| scenarios::matching::matching(count, &[10, ROUTES]));
}

#[library_benchmark]
#[bench::exact_2000("exact/2000")]
#[bench::wildcard_2000("wildcard/2000")]
#[bench::miss_2000("miss/2000")]
fn hosts(name: &'static str) {
    Count::one(name, |count| scenarios::matching::hosts(count, HOSTS));
}

#[library_benchmark]
#[bench::statistics_small("statistics/2KiB/65536")]
#[bench::statistics_large("statistics/1MiB/16384")]
#[bench::gzip_small("gzip/2KiB/65536")]
fn metering(name: &'static str) {
    Count::one(name, scenarios::metering::metering);
}

#[library_benchmark]
#[bench::json("json")]
#[bench::text("text")]
fn logging(name: &'static str) {
    Count::one(name, scenarios::metering::logging);
}

#[library_benchmark]
#[bench::small("2KiB/65536")]
#[bench::large("1MiB/16384")]
fn stripping(name: &'static str) {
    Count::one(name, scenarios::stripping::stripping);
}

#[library_benchmark]
#[bench::load_short("load, short routes")]
#[bench::load_long("load, long routes")]
#[bench::load_crossing("load, crossing routes")]
#[bench::compare("compare, half of the routes changed")]
#[bench::compile("compile")]
fn compile(name: &'static str) {
    Count::one(name, |count| scenarios::compile::compile(count, ROUTES));
}

library_benchmark_group!(
    name = steps;
    benchmarks =
        admission, signatures, entrance, known_callers, limits, matching, hosts, metering, logging, stripping, compile
);

gungraun_main!(
    config = LibraryBenchmarkConfig::default()
        .tool(
            // Caches, which it would imitate as well, take it twice as long.
            Callgrind::with_args(["--cache-sim=no"])
                .entry_point(EntryPoint::Custom("*tollgate_counts_this*".to_owned())),
        );
    library_benchmark_groups = steps
);
