// Makes app/ui from ui/src: one script a page, one style, each under a name that changes with its content.
//   node build.mjs            once
//   node build.mjs --watch    again after each change, for whoever works on a page
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, gzip } from "node:zlib";
import esbuild from "esbuild";

const target = new URL("../app/ui/", import.meta.url).pathname;
const assets = join(target, "assets");
const compressions = { br: promisify(brotliCompress), gz: promisify(gzip) };

const options = {
  entryPoints: { main: "src/main.tsx", style: "src/style/style.css" },
  absWorkingDir: new URL(".", import.meta.url).pathname,
  outdir: assets,
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["es2022", "chrome111", "firefox113", "safari16.4"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  sourcemap: false,
  legalComments: "linked",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  metafile: true,
  write: false,
  logLevel: "info",
  plugins: [{ name: "write", setup: (build) => build.onEnd(write) }],
};

async function write(result) {
  if (result.errors.length > 0) return;
  await rm(target, { recursive: true, force: true });
  await mkdir(assets, { recursive: true });
  for (const file of result.outputFiles) {
    await writeFile(file.path, file.contents);
    for (const [ending, compress] of Object.entries(compressions))
      await writeFile(`${file.path}.${ending}`, await compress(file.contents));
  }
  const names = result.outputFiles.map((file) => basename(file.path));
  const find = (start, end) => names.find((name) => name.startsWith(start) && name.endsWith(end));
  const page = await readFile(new URL("src/index.html", import.meta.url), "utf8");
  // Last: a folder with a page is a whole one.
  await writeFile(
    join(target, "index.html"),
    page.replace("{script}", find("main-", ".js")).replace("{style}", find("style-", ".css")),
  );
}

if (process.argv.includes("--watch")) {
  const context = await esbuild.context(options);
  await context.watch();
} else {
  const { metafile } = await esbuild.build(options);
  if (process.argv.includes("--sizes")) console.log(await esbuild.analyzeMetafile(metafile));
}
