// Prints the faults of Kubernetes resources of Istio, by the schemas of its CRDs: what the validators
// find, and fields that the types do not have, which validators let pass.
import * as extensions from '@kubernetes-models/istio/extensions.istio.io/v1alpha1';
import * as v1 from '@kubernetes-models/istio/networking.istio.io/v1';
import * as v1alpha3 from '@kubernetes-models/istio/networking.istio.io/v1alpha3';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const GROUPS = {
  'extensions.istio.io/v1alpha1': extensions,
  'networking.istio.io/v1': v1,
  'networking.istio.io/v1alpha3': v1alpha3,
};

function faultsOf(resource) {
  const { apiVersion, kind } = resource;
  const Model = GROUPS[apiVersion]?.[kind];
  if (!Model) return [`there is no ${kind} in ${apiVersion}`];
  try {
    new Model(resource).validate();
    return faultsOfTypes(resource);
  } catch (error) {
    return [error.message];
  }
}

// An object literal may have no more fields than its type.
function faultsOfTypes({ apiVersion, kind, ...rest }) {
  const name = fileURLToPath(new URL('resource.ts', import.meta.url));
  const text = `import type { I${kind} } from '@kubernetes-models/istio/${apiVersion}/${kind}';
    const resource: I${kind} = ${JSON.stringify({ apiVersion, kind, ...rest }, null, 1)};
    export default resource;`;
  const options = {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2024,
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (file) => file === name || fileExists(file);
  host.getSourceFile = (file, ...others) =>
    file === name ? ts.createSourceFile(file, text, ts.ScriptTarget.ES2024) : getSourceFile(file, ...others);
  const program = ts.createProgram([name], options, host);
  return ts
    .getPreEmitDiagnostics(program)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '));
}

for (const resource of JSON.parse(process.argv[2])) {
  for (const fault of faultsOf(resource)) {
    console.log(JSON.stringify(`${resource.kind} ${resource.metadata?.name}: ${fault}`));
  }
}
