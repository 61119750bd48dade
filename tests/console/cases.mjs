// The cases, in a fixed order, because some change the cluster. cases.mjs "CLIENT PORTS" "PROCESSES" prints one line per case.
import { close, run } from "./stage.mjs";
import * as access from "./access.mjs";
import * as keys from "./keys.mjs";
import * as views from "./views.mjs";

await run(keys.cases);
await run(views.cases);
await run(access.cases);
await run(views.last);
await close();
console.log("all cases ran");
