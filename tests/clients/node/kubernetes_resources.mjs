// Prints the faults of resources of Kubernetes, Istio, the Gateway API and Envoy Gateway, by their
// schemas: those that the validators find, and fields that the types do not have, which validators
// accept.
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const PACKAGES = {
  'apps/v1': 'kubernetes-models',
  'extensions.istio.io/v1alpha1': '@kubernetes-models/istio',
  'gateway.envoyproxy.io/v1alpha1': '@kubernetes-models/envoy-gateway',
  'gateway.networking.k8s.io/v1': '@kubernetes-models/gateway-api',
  'networking.istio.io/v1': '@kubernetes-models/istio',
  'networking.istio.io/v1alpha3': '@kubernetes-models/istio',
  'policy/v1': 'kubernetes-models',
  'security.istio.io/v1': '@kubernetes-models/istio',
  v1: 'kubernetes-models',
};

async function faultOfModel(resource) {
  const { apiVersion, kind } = resource;
  const library = PACKAGES[apiVersion];
  const models = library && (await import(`${library}/${apiVersion}`));
  const Model = models?.[kind];
  if (!Model) return `there is no ${kind} in ${apiVersion}`;
  try {
    new Model(resource).validate();
    return undefined;
  } catch (error) {
    return error.message;
  }
}

// An object literal may have only the fields of its type. One program for all resources loads the
// types once.
function faultsOfTypes(resources) {
  const texts = new Map(
    resources.map(({ apiVersion, kind, ...rest }, index) => [
      fileURLToPath(new URL(`resource_${index}.ts`, import.meta.url)),
      `import type { I${kind} } from '${PACKAGES[apiVersion]}/${apiVersion}/${kind}';
    const resource: I${kind} = ${JSON.stringify({ apiVersion, kind, ...rest }, null, 1)};
    export default resource;`,
    ]),
  );
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
  host.fileExists = (file) => texts.has(file) || fileExists(file);
  host.getSourceFile = (file, ...others) =>
    texts.has(file)
      ? ts.createSourceFile(file, texts.get(file), ts.ScriptTarget.ES2024)
      : getSourceFile(file, ...others);
  const program = ts.createProgram([...texts.keys()], options, host);
  return [...texts.keys()].map((file) =>
    ts
      .getPreEmitDiagnostics(program, program.getSourceFile(file))
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' ')),
  );
}

const resources = JSON.parse(process.argv[2]);
const faults = await Promise.all(resources.map(faultOfModel));
const ofTypes = faultsOfTypes(resources.filter((_, index) => !faults[index]));
for (const [index, { kind, metadata }] of resources.entries()) {
  for (const fault of faults[index] ? [faults[index]] : ofTypes.shift()) {
    console.log(JSON.stringify(`${kind} ${metadata?.name}: ${fault}`));
  }
}
