// Reads docs/asyncapi.yaml with the AsyncAPI parser, and the examples on stdin with the JSON Schemas.
// node contract.mjs ASYNCAPI.yaml SCHEMAS_FOLDER < [{"file": "offer.json", "message": {...}}, ...]
// Prints one line for each fault; nothing when all is well.
import fs from "node:fs";
import path from "node:path";
import { Parser } from "@asyncapi/parser";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const [contract, folder] = process.argv.slice(2);
const { document, diagnostics } = await new Parser().parse(fs.readFileSync(contract, "utf8"));
if (!document) console.log(`${contract}: it is no AsyncAPI document`);
for (const one of diagnostics.filter(({ severity }) => severity < 2)) // errors and warnings
  console.log(`${contract}: ${one.path.join(".")}: ${one.message}`);

const ajv = new Ajv.default({ strict: true, allowUnionTypes: true, allErrors: true });
addFormats.default(ajv);
const checks = {};
for (const file of fs.readdirSync(folder))
  checks[file] = ajv.compile(JSON.parse(fs.readFileSync(path.join(folder, file), "utf8")));
for (const { file, message } of JSON.parse(fs.readFileSync(0, "utf8")))
  if (!checks[file](message)) console.log(`${file}: ${ajv.errorsText(checks[file].errors)}`);
