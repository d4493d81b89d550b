// Renders a model with three.js in headless Chromium: node three.mjs MODULES REQUEST.json
// The request lists pictures: {file, kind, position, fovy, size, picture}; axes as three.js has them, y up.
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";

const [, , folder, request] = process.argv;
const modules = path.resolve(folder);
const { chromium } = createRequire(path.join(modules, "x.js"))("playwright-core");
const jobs = JSON.parse(await readFile(request, "utf8"));
const flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: flags });
const context = await browser.newContext({ viewport: { width: 600, height: 600 }, reducedMotion: "reduce" });
await context.route("http://local/**", async (route) => {
  const name = decodeURIComponent(new URL(route.request().url()).pathname);
  const file = name.startsWith("/node_modules/") ? path.join(modules, name.slice(14)) : name;
  const type = name.endsWith("js") ? "text/javascript" : "application/octet-stream";
  if (name === "/") await route.fulfill({ contentType: "text/html", body: PAGE });
  else await route.fulfill({ contentType: type, body: await readFile(file) });
});

const PAGE = `<script type="importmap">{"imports": {"three": "/node_modules/three/build/three.module.js", "three/": "/node_modules/three/"}}</script>
<script type="module">
import * as THREE from "three";
import { GLTFLoader } from "three/examples/jsm/loaders/GLTFLoader.js";
import { OBJLoader } from "three/examples/jsm/loaders/OBJLoader.js";
import { MTLLoader } from "three/examples/jsm/loaders/MTLLoader.js";
import { PLYLoader } from "three/examples/jsm/loaders/PLYLoader.js";
async function loaded(file, kind) {
  if (kind === "glb") return (await new GLTFLoader().loadAsync(file)).scene;
  if (kind === "ply") return new THREE.Mesh(await new PLYLoader().loadAsync(file), new THREE.MeshBasicMaterial({ vertexColors: true }));
  const loader = new OBJLoader();
  if (kind === "obj-mtl") loader.setMaterials(await new MTLLoader().loadAsync(file.replace(/obj$/, "mtl")));
  const scene = await loader.loadAsync(file);
  await new Promise((done) => setTimeout(done, 300)); // the picture
  // without light, since the colours hold theirs; OBJ cannot say so
  scene.traverse((part) => part.isMesh && (part.material = new THREE.MeshBasicMaterial({ map: part.material.map, vertexColors: !part.material.map })));
  return scene;
}
window.draw = async ({ file, kind, position, up, fovy, size }) => {
  const renderer = new THREE.WebGLRenderer({ alpha: true, preserveDrawingBuffer: true });
  renderer.setSize(size, size);
  const scene = new THREE.Scene(), camera = new THREE.PerspectiveCamera(fovy, 1, 0.01, 100);
  scene.add(await loaded(file, kind));
  camera.up.set(...up);
  camera.position.set(...position);
  camera.lookAt(0, 0, 0);
  renderer.render(scene, camera);
  return renderer.domElement.toDataURL();
};
window.version = THREE.REVISION;
</script>`;

const page = await context.newPage();
page.on("pageerror", (error) => console.error(error.message));
for (const job of jobs) {
  let data;
  if (job.kind === "html") {
    await page.goto(`file://${job.file}`);
    await page.waitForTimeout(800);
    data = await page.evaluate(async ({ position: [x, y, z], fovy, size }) => {
      turning = false;
      const distance = Math.hypot(x, y, z), degrees = 180 / Math.PI;
      Object.assign(camera, { target: [0, 0, 0], distance, fovy, azimuth: Math.atan2(x, z) * degrees, elevation: Math.asin(y / distance) * degrees });
      canvas.style.cssText = `flex: none; width: ${size}px; height: ${size}px`;
      draw();
      return canvas.toDataURL();
    }, job);
  } else {
    await page.goto("http://local/");
    await page.waitForFunction("window.draw");
    data = await page.evaluate((one) => window.draw(one), job);
  }
  await writeFile(job.picture, Buffer.from(data.split(",")[1], "base64"));
}
await page.goto("http://local/");
await page.waitForFunction("window.version");
console.log(`three.js r${await page.evaluate("window.version")}, Chromium ${browser.version()}`);
await browser.close();
