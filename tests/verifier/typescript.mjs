// Lets Node.js load .ts files: types are taken out, nothing is checked (`tsc -p tests/verifier` does that).
import { readFile } from "node:fs/promises";
import ts from "typescript";

const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 };

export async function load(url, context, next) {
  if (!url.endsWith(".ts")) return next(url, context);
  const { outputText } = ts.transpileModule(await readFile(new URL(url), "utf8"), { compilerOptions });
  return { format: "module", shortCircuit: true, source: outputText };
}
