"""Reads metrics from stdin and alert rules from the file named: as Prometheus would.

Prints the families and their samples as JSON. Fails where the text is not OpenMetrics, where an
expression does not parse, or where one asks for a metric that is not in the families named.
"""
import json
import re
import sys

import promql_parser
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

families = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, f"{family.name} has no help"
    families[family.name] = {
        "type": family.type,
        "samples": [[s.name, s.labels, s.value] for s in family.samples],
    }

rules = [rule for group in yaml.safe_load(open(sys.argv[1]))["groups"] for rule in group["rules"]]
alerts = {}
for rule in rules:
    promql_parser.parse(rule["expr"])
    assert rule["labels"]["severity"] in ("page", "warn"), rule
    alerts[rule["alert"]] = sorted(set(re.findall(r"portcullis_\w+", rule["expr"])))
json.dump({"families": families, "alerts": alerts}, sys.stdout)
