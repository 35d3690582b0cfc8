// Prints the faults of resources of Kubernetes, Istio and the Gateway API, by their schemas: those
// that the validators find, and fields that the types do not have, which validators accept.
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const PACKAGES = {
  'apps/v1': 'kubernetes-models',
  'extensions.istio.io/v1alpha1': '@kubernetes-models/istio',
  'gateway.networking.k8s.io/v1': '@kubernetes-models/gateway-api',
  'networking.istio.io/v1': '@kubernetes-models/istio',
  'networking.istio.io/v1alpha3': '@kubernetes-models/istio',
  'policy/v1': 'kubernetes-models',
  'security.istio.io/v1': '@kubernetes-models/istio',
  v1: 'kubernetes-models',
};

async function faultsOf(resource) {
  const { apiVersion, kind } = resource;
  const library = PACKAGES[apiVersion];
  const models = library && (await import(`${library}/${apiVersion}`));
  const Model = models?.[kind];
  if (!Model) return [`there is no ${kind} in ${apiVersion}`];
  try {
    new Model(resource).validate();
    return faultsOfTypes(resource);
  } catch (error) {
    return [error.message];
  }
}

// An object literal may have only the fields of its type.
function faultsOfTypes({ apiVersion, kind, ...rest }) {
  const name = fileURLToPath(new URL('resource.ts', import.meta.url));
  const library = PACKAGES[apiVersion];
  const text = `import type { I${kind} } from '${library}/${apiVersion}/${kind}';
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
  for (const fault of await faultsOf(resource)) {
    console.log(JSON.stringify(`${resource.kind} ${resource.metadata?.name}: ${fault}`));
  }
}
