import { createServer } from "node:http";

const lamp = { lit: false, since: new Date() };

function answer(response, status, body) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

/** PUT /lamp with {"lit": true} lights it; GET /lamp says whether it burns. */
async function handle(request, response) {
  if (request.url !== "/lamp") {
    return answer(response, 404, { error: "there is only a lamp" });
  }
  if (request.method === "PUT") {
    let body = "";
    for await (const piece of request) {
      body += piece;
    }
    lamp.lit = JSON.parse(body).lit === true;
    lamp.since = new Date();
  }
  return answer(response, 200, lamp);
}

createServer((request, response) => {
  handle(request, response).catch(() => answer(response, 400, { error: "no JSON" }));
}).listen(8080);
