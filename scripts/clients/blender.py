"""Render models with Blender (`bpy`), as its importers read them: `python blender.py REQUEST.json`.

The request lists pictures: {file, kind, position, fovy, size, picture}; axes as Blender
has them, z up with the front at -y.
"""

import json
import math
import sys
from pathlib import Path

import bpy
from mathutils import Vector

IMPORTERS = {
    "glb": lambda file: bpy.ops.import_scene.gltf(filepath=file),
    "obj": lambda file: bpy.ops.wm.obj_import(filepath=file),
    "ply": lambda file: bpy.ops.wm.ply_import(filepath=file),
}


def without_light(material, colours):
    """Show a material's colours as they are: OBJ and PLY cannot say that they hold their light."""
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    emission, output = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    images = [node for node in nodes if node.type == "TEX_IMAGE"]
    if images:
        source = images[0].outputs["Color"]
    else:
        attribute = nodes.new("ShaderNodeVertexColor")
        attribute.layer_name = colours
        source = attribute.outputs["Color"]
    links.new(source, emission.inputs["Color"])
    links.new(emission.outputs["Emission"], output.inputs["Surface"])
    output.is_active_output = True


def draw(file, kind, position, fovy, size, picture):
    """Render a file on nothing, for 8 samples a pixel."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    kind = kind.removesuffix("-mtl")
    IMPORTERS[kind](file)
    scene = bpy.context.scene
    for part in (part for part in bpy.data.objects if part.type == "MESH" and kind != "glb"):
        if not part.data.materials:
            part.data.materials.append(bpy.data.materials.new("plain"))
        names = [layer.name for layer in part.data.color_attributes]
        without_light(part.data.materials[0], names[0] if names else "")
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.location = position
    camera.rotation_euler = (-Vector(position)).to_track_quat("-Z", "Y").to_euler()
    camera.data.angle = math.radians(fovy)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 8, False
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.filepath = picture
    bpy.ops.render.render(write_still=True)


for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
    draw(**job)
print(f"Blender {bpy.app.version_string}", file=sys.stderr)
