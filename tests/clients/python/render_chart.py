"""Renders a Helm chart as `helm template` does, with Helm's own library, and prints its resources
or the error. The values are validated with `values.schema.json`."""

import json
import sys

import helm_python

options = json.loads(sys.argv[1])
try:
    with helm_python.Chart.load(options["chart"]) as chart:
        files = chart.render(options["values"], name=options["name"], namespace=options["namespace"])
    print(json.dumps({"files": files}))
except helm_python.HelmError as error:
    print(json.dumps({"fault": str(error)}))
